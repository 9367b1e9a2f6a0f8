#!/bin/bash
# Proves that the generated files are what hack/update-codegen.sh writes. Names the files that differ and
# exits with 1.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/update-codegen.sh" --check
