#!/usr/bin/env bash
# checks/sanitize.sh thread|address [test arguments…]
#
# Runs the suites that use several threads under ThreadSanitizer, or those that reach C code and mappings under
# AddressSanitizer, with the standard library built the same way. Nothing is suppressed. Prints
# `campaign=tsan states=<tests> failures=<tests and reports> seconds=…`; exits with 1 where something was found.
#
# With arguments, `cargo test` gets them in place of the suites: `checks/sanitize.sh thread -p annals --test crash`.
set -euo pipefail
cd "$(dirname "$0")/.."

kind="${1:-}"
[ "$#" -gt 0 ] && shift
case "$kind" in
thread)
    campaign=tsan
    runs=("-p annals --test write_path --test beside --test lifetime" "-p annals-wal --tests")
    ;;
address)
    campaign=asan
    # zstd's C is built with the same checks.
    export CFLAGS_x86_64_unknown_linux_gnu="-fsanitize=address -fno-omit-frame-pointer"
    runs=("-p annals-block --tests" "-p annals-vfs --tests" "-p annals-wal --tests" "-p annals --test write_path --test beside")
    ;;
*)
    echo "usage: checks/sanitize.sh thread|address [test arguments…]" >&2
    exit 2
    ;;
esac
[ "$#" -gt 0 ] && runs=("$*")

skipped() {
    echo "SKIPPED $campaign: $1"
    echo "campaign=$campaign states=0 failures=0 seconds=0"
    exit 0
}
rustc +nightly --version >/dev/null 2>&1 || skipped "there is no nightly toolchain"
[ -d "$(rustc +nightly --print sysroot)/lib/rustlib/src/rust/library" ] || skipped "the nightly toolchain lacks rust-src"
[ "$(rustc +nightly -vV | sed -n 's/^host: //p')" = x86_64-unknown-linux-gnu ] || skipped "not on x86_64 Linux"

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/sanitize-$kind" CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
export RUSTFLAGS="-Zsanitizer=$kind" RUSTDOCFLAGS="-Zsanitizer=$kind"
# A report does not end the run: all are counted, and the process then fails.
export TSAN_OPTIONS="halt_on_error=0 exitcode=66" ASAN_OPTIONS="detect_leaks=1"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
started=$SECONDS
for run in "${runs[@]}"; do
    # shellcheck disable=SC2086 # several arguments each
    cargo +nightly test --locked -Zbuild-std --target x86_64-unknown-linux-gnu --no-fail-fast $run 2>&1 |
        tee -a "$log" | { grep -E '^(test result|error|SUMMARY|WARNING: Thread|==[0-9]+==ERROR)' || true; } || status=1
done
passed=$(awk '/^test result:/ { sum += $4 } END { print sum + 0 }' "$log")
failed=$(awk '/^test result:/ { sum += $6 } END { print sum + 0 }' "$log")
reports=$(grep -cE '^(WARNING: ThreadSanitizer|==[0-9]+==ERROR: )' "$log" || true)
failures=$((failed + reports))
# A build that fails or a process that dies shows as neither.
[ "$status" -ne 0 ] && [ "$failures" -eq 0 ] && failures=1
[ "$failures" -ne 0 ] && grep -E -A25 '^(WARNING: ThreadSanitizer|==[0-9]+==ERROR: |error)' "$log" >&2
echo "campaign=$campaign states=$passed failures=$failures seconds=$((SECONDS - started))"
[ "$failures" -eq 0 ] && [ "$passed" -gt 0 ]
