#!/usr/bin/env bash
# checks/schedules.sh [schedules] [seed]
#
# Runs the log and the whole engine under that many interleavings of their threads per scenario; see vfs/src/sync. A few
# thousand in all without an argument; `checks/schedules.sh 25000` is the full run, 100,000 of the whole engine. A failure
# prints its schedule and its seed: `SHUTTLE_RANDOM_SEED=<seed> ANNALS_SCHEDULES=1 checks/schedules.sh` runs it again.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never
[ "$#" -gt 0 ] && export ANNALS_SCHEDULES="$1"
[ "$#" -gt 1 ] && export ANNALS_SEED="$2"
profile=()
[ "${ANNALS_SCHEDULES:-0}" -gt 2000 ] && profile=(--release)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
started=$SECONDS
for package in annals-wal annals; do
    cargo test --locked "${profile[@]}" -p "$package" --features schedules --test schedules -- \
        --nocapture --test-threads 1 2>&1 | tee -a "$log" | { grep -E 'campaign=|^(test |error)|panicked' || true; } || status=1
done
states=$(sed -n 's/.*campaign=.* states=\([0-9]*\) .*/\1/p' "$log" | awk '{ sum += $1 } END { print sum + 0 }')
failures=$(awk '/^test result:/ { sum += $6 } END { print sum + 0 }' "$log")
[ "$status" -ne 0 ] && [ "$failures" -eq 0 ] && failures=1
[ "$failures" -ne 0 ] && grep -E -A12 'panicked|^error' "$log" >&2
echo "campaign=schedules states=$states failures=$failures seconds=$((SECONDS - started))"
[ "$failures" -eq 0 ]
