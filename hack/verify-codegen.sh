#!/bin/bash
# Proves that the generated files are what hack/update-codegen.sh writes: generates into a copy of the
# tree and compares. Names the files that differ and exits with 1.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Everything that a generator reads or writes, twice: as it is, and as it should be.
tree=(go.mod go.sum go.work hack/boilerplate.go.txt staging pkg manifests)
[ -f "$repo/go.work.sum" ] && tree+=(go.work.sum)
mkdir "$work/is"
tar -C "$repo" -cf - "${tree[@]}" | tar -C "$work/is" -xf -
cp -a "$work/is" "$work/should"

"$repo/hack/update-codegen.sh" "$work/should"

stale=$(cd "$work" && for part in staging pkg manifests; do
  diff -rq "is/$part" "should/$part" || true
done | sed -E \
  -e 's|^Files is/(.*) and .* differ$|\1|' \
  -e 's|^Only in should/(.*): (.*)$|\1/\2 (missing)|' \
  -e 's|^Only in is/(.*): (.*)$|\1/\2 (left over)|')
if [ -n "$stale" ]; then
  echo "not up to date, run hack/update-codegen.sh:" >&2
  sed 's/^/  /' <<<"$stale" >&2
  exit 1
fi
