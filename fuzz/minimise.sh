#!/bin/sh
# Brings what runs of fuzz/run.sh found into the committed corpus: per target some 60 of the fewest inputs that
# reach what all reach together, evenly over their sizes, the shortest first, up to 16 KiB.
#
# usage: fuzz/minimise.sh [TARGET...]      after run.sh, with the programs that it built and the same CORPUS
set -u
cd "$(dirname "$0")/.." || exit 2
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' fuzz/Cargo.toml)
target_dir=${CARGO_TARGET_DIR:-target}
corpus=${CORPUS:-$target_dir/fuzz-corpus}
for target; do
    merged=$corpus/$target.min
    rm -rf "$merged"
    mkdir -p "$merged" "fuzz/corpus/$target" "$corpus/$target"
    "$corpus/programs/$target" -merge=1 -timeout=10 "$merged" "fuzz/corpus/$target" "$corpus/$target" \
        >"$corpus/$target.merge.log" 2>&1 || exit 2
    # Findings that were fixed are named by what they found; they stay.
    find "fuzz/corpus/$target" -type f -regex '.*/[0-9a-f]*' -delete
    taken=0
    step=$(($(ls "$merged" | wc -l) / 60 + 1))
    for input in $(ls -Sr "$merged" | awk "NR % $step == 0"); do
        taken=$((taken + $(wc -c <"$merged/$input")))
        [ $taken -le 16384 ] || break
        cp "$merged/$input" "fuzz/corpus/$target/"
    done
    echo "$target: $(ls "fuzz/corpus/$target" | wc -l) inputs of $(ls "$merged" | wc -l)"
done
