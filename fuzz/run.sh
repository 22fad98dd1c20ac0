#!/bin/sh
# Fuzzes each target for a while and prints one line for each:
#
#   campaign=fuzz-promql states=1843022 failures=0 edges=2120 seconds=61
#
# usage: fuzz/run.sh SECONDS [TARGET...]       all targets where none is named, decoders first
#
#   LEDGER=file    appends a row per target, as docs/reliability-ledger.md has them
#   SANITIZER=...  `none` unless given: our code is safe Rust, and without it twice as many inputs are tried;
#                  `address` also watches zstd
#   TOOLS=dir      where cargo-fuzz is installed when it is missing; a folder under the user's cache unless given
#   TIMEOUT=s      how long one input may take, in seconds of wall-clock time: 10 unless given
#   CORPUS=dir     where new inputs go; beside the build unless given. The committed corpus is only read:
#                  fuzz/minimise.sh brings back what is worth keeping
#
# What fails stays in fuzz/artifacts/TARGET/. Exit status 1 where something failed.
set -u
cd "$(dirname "$0")/.." || exit 2
if [ $# -lt 1 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' fuzz/run.sh >&2
    exit 2
fi
seconds=$1
shift
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' fuzz/Cargo.toml)

target_dir=${CARGO_TARGET_DIR:-target}
corpus=${CORPUS:-$target_dir/fuzz-corpus}
tools=${TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/annals-fuzz-tools}
PATH=$tools/bin:$PATH
if ! command -v cargo-fuzz >/dev/null; then
    echo "installing cargo-fuzz into $tools" >&2
    cargo install --quiet --locked --root "$tools" cargo-fuzz || exit 2
fi

# Linking twenty-odd programs with the release profile's optimisation across crates would take longer than it saves.
CARGO_PROFILE_RELEASE_LTO=off
CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export CARGO_PROFILE_RELEASE_LTO CARGO_PROFILE_RELEASE_CODEGEN_UNITS
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain -- '*.rs' '*.toml' 2>/dev/null)" ] || commit=$commit+
mkdir -p "$corpus"
if ! cargo +nightly fuzz build --fuzz-dir fuzz --target-dir "$target_dir/fuzz" --features libfuzzer \
    --sanitizer "${SANITIZER:-none}" 2>"$corpus/build.log"; then
    cat "$corpus/build.log" >&2
    exit 2
fi
# The programs are started by themselves: what changes in the sources meanwhile is another run's.
host=$(rustc -vV | sed -n 's/^host: //p')
programs=$corpus/programs
rm -rf "$programs"
mkdir -p "$programs"
for target; do
    cp "$target_dir/fuzz/$host/release/$target" "$programs/" || exit 2
done
# What the encoders write is where libFuzzer starts from, beside the committed corpus.
"$target_dir/fuzz/$host/release/annals-fuzz" seeds "$corpus" || exit 2

status=0
for target; do
    mkdir -p "$corpus/$target" "fuzz/corpus/$target" "fuzz/artifacts/$target"
    log=$corpus/$target.log
    # What opens a store is slow and its inputs are short histories; files and texts may be longer.
    case $target in
    *_ops | *_roundtrip) length=1024 ;;
    wal_segment | manifest | catalogue | *block* | record) length=16384 ;;
    *) length=4096 ;;
    esac
    nice -n 19 "$programs/$target" "$corpus/$target" "fuzz/corpus/$target" -max_total_time="$seconds" \
        -rss_limit_mb=512 -malloc_limit_mb=512 -timeout="${TIMEOUT:-10}" -max_len=$length -print_final_stats=1 \
        -artifact_prefix="fuzz/artifacts/$target/" >"$log" 2>&1
    failed=$?
    executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    took=$(sed -n 's/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "$log" | tail -1)
    failures=0
    if [ $failed -ne 0 ]; then
        failures=1
        status=1
        grep -aE 'panicked|assertion|ERROR|Test unit written|^ *(left|right):' -A1 "$log" | head -12 >&2
    fi
    echo "campaign=fuzz-$target states=${executed:-0} failures=$failures edges=${edges:-0} seconds=${took:-$seconds}"
    if [ -n "${LEDGER:-}" ]; then
        echo "| $commit | fuzz-$target |  | ${executed:-0} | $failures | ${took:-$seconds} | edges ${edges:-0} |" >>"$LEDGER"
    fi
done
exit $status
