#!/usr/bin/env bash
# Checks what needs no test run: format, vet, staticcheck, generated code, module files. All checks
# run; the names of those that failed come last.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=()
check() {
  local name=$1
  shift
  local start=$SECONDS
  if "$@"; then
    echo "verify $name: ok ($((SECONDS - start))s)"
  else
    echo "verify $name: FAILED"
    failed+=("$name")
  fi
}

go_files() {
  git ls-files --cached --others --exclude-standard '*.go' | while read -r file; do
    [ -e "$file" ] && echo "$file"
  done
}

formatted() {
  local files
  files=$(go_files | xargs gofmt -l)
  [ -z "$files" ] || { printf 'not formatted by gofmt:\n%s\n' "$files"; return 1; }
}

vetted() {
  go vet -tags component,e2e,clients,upgrade,olm ./... image.alauda.io/api/... image.alauda.io/client-go/... &&
    (cd hack/devcluster && GOWORK=off go vet ./...) &&
    (cd hack/olm && GOWORK=off go vet -tags containers_image_openpgp ./...)
}

linted() {
  mkdir -p _output/bin
  (cd hack/tools && GOWORK=off go build -o ../../_output/bin/staticcheck honnef.co/go/tools/cmd/staticcheck) &&
    go list -tags component,e2e,clients,upgrade,olm ./... image.alauda.io/api/... | grep -v /openapi$ | # generated, and names deprecated core types
      xargs _output/bin/staticcheck -tags component,e2e,clients,upgrade,olm &&
    (cd hack/devcluster && GOWORK=off ../../_output/bin/staticcheck ./...)
}

# The staging modules are used by others without this workspace.
standalone() {
  (cd staging/src/image.alauda.io/api && GOWORK=off go build ./...) &&
    (cd staging/src/image.alauda.io/client-go && GOWORK=off go build ./...) &&
    GOWORK=off go build ./...
}

check format formatted
check vet vetted
check staticcheck linted
check modules standalone
check generated hack/verify-codegen.sh

if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}"
  exit 1
fi
