#!/usr/bin/env bash
# Builds the page from src into dist, or into a folder that is given. Packages come by npm, of the exact versions of
# package-lock.json, into a temporary folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/dist}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$work"
(cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
mkdir -p "$out"
node "$here/build.mjs" "$here" "$work/node_modules" "$out"
