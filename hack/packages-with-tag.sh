#!/usr/bin/env bash
# Prints the packages that have test files with the given build tag.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tag=${1:?usage: packages-with-tag.sh TAG}
git grep -l --untracked "^//go:build $tag\$" -- '*_test.go' | xargs -n 1 dirname | sort -u | sed 's|^|./|'
