#!/usr/bin/env bash
# checks/miri.sh
#
# Interprets the tests of formats and codecs with miri, which sees every undefined behaviour that they reach. Files,
# mappings and zstd's C are beyond it: `vfs` is left out but for its simulated disk, and under miri `block` squeezes
# with a stand-in (block/src/squeeze/stand_in.rs). Property tests try few cases. Prints
# `campaign=miri states=<tests> failures=… seconds=…`; exits with 1 where something was found.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "SKIPPED miri: the nightly toolchain is missing or lacks miri"
    echo "campaign=miri states=0 failures=0 seconds=0"
    exit 0
fi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/miri" CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
# Property tests read their number of cases from the environment and would write what failed beside the sources.
export MIRIFLAGS="-Zmiri-disable-isolation" PROPTEST_CASES=2 PROPTEST_DISABLE_FAILURE_PERSISTENCE=true
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
started=$SECONDS
miri() {
    cargo +nightly miri test --locked "$@" 2>&1 |
        tee -a "$log" | { grep -E '^(test result|error|test .*FAILED)' || true; } || status=1
}
# Regular expressions take miri an hour, and the matchers are but a wrapper of them.
miri -p annals-model --lib -- bytes:: id:: time:: block:: sample::
# One test flips every bit of a header: too many for an interpreter, and its code is reached by the others.
miri -p annals-wal --lib -- frame:: header:: fields:: lsn:: --skip any_one_half_is_enough
# One test decodes stored chunks, which hold what zstd made of them. pco, a dependency, breaks the rules of Stacked Borrows,
# which are an experiment; those of Tree Borrows hold.
MIRIFLAGS="$MIRIFLAGS -Zmiri-tree-borrows"
miri -p annals-block --lib -- codec:: symbols:: squeeze:: labels:: --skip a_stored_chunk_of_each_codec
passed=$(awk '/^test result:/ { sum += $4 } END { print sum + 0 }' "$log")
failures=$(awk '/^test result:/ { sum += $6 } END { print sum + 0 }' "$log")
undefined=$(grep -c '^error: Undefined Behavior' "$log" || true)
failures=$((failures + undefined))
[ "$status" -ne 0 ] && [ "$failures" -eq 0 ] && failures=1
[ "$failures" -ne 0 ] && grep -E -A25 '^error' "$log" >&2
echo "campaign=miri states=$passed failures=$failures seconds=$((SECONDS - started))"
[ "$failures" -eq 0 ] && [ "$passed" -gt 0 ]
