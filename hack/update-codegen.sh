#!/bin/bash
# Writes all generated code and the custom resource definitions: deep copies, conversions, OpenAPI
# definitions, the client module, the YAML below manifests/, and the bundle and catalog made of it.
#
#   hack/update-codegen.sh [--check]
#
# The work is done in a copy, so that a failure leaves the tree as it was. With --check nothing is written;
# the files that would change are named and the exit code is 1 if there are any.
# The generators are those that hack/tools/go.mod pins.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
check=false
[ "${1:-}" = --check ] && check=true
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/should
bin=$repo/_output/tools/bin
header=$root/hack/boilerplate.go.txt
api=staging/src/image.alauda.io/api
client=staging/src/image.alauda.io/client-go
# The only package among the generated clients that is written by hand.
imagestore=$client/clientset/versioned/fake/imagestore

# Longest description that a definition keeps; the embedded Pod types would fill it otherwise.
max_description=240
# etcd and `kubectl apply` refuse objects that are not much bigger than this.
max_crd_bytes=262144

build_tools() {
  mkdir -p "$bin"
  (cd "$repo/hack/tools" && GOWORK=off go build -o "$bin/" \
    k8s.io/code-generator/cmd/{deepcopy-gen,conversion-gen,client-gen,lister-gen,informer-gen,applyconfiguration-gen} \
    k8s.io/kube-openapi/cmd/openapi-gen \
    sigs.k8s.io/controller-tools/cmd/controller-gen)
}

# tagged TAG DIR: import paths of the packages below DIR that carry the tag
tagged() {
  (cd "$root" && { grep -rlE "^// \+$1" --include='*.go' "$2" 2>/dev/null || true; } |
    xargs -r -n1 dirname | LC_ALL=C sort -u | sed 's|^staging/src/||; t; s|^|image.alauda.io/registry/|')
}

# run NAME ARG...: one generator, quiet unless it fails
run() {
  local log
  log=$(mktemp)
  if ! (cd "$root" && "$bin/$1" "${@:2}") >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    echo "update-codegen: $1 failed" >&2
    return 1
  fi
  rm -f "$log"
}

deepcopies() {
  local packages
  mapfile -t packages < <(tagged 'k8s:deepcopy-gen=package' "$api"; tagged 'k8s:deepcopy-gen=package' pkg)
  run deepcopy-gen --go-header-file "$header" --output-file zz_generated.deepcopy.go "${packages[@]}"
}

conversions() {
  local packages
  mapfile -t packages < <(tagged 'k8s:conversion-gen=' pkg)
  [ "${#packages[@]}" -eq 0 ] && return 0
  run conversion-gen --go-header-file "$header" --output-file zz_generated.conversion.go "${packages[@]}"
}

# Types of libraries that ours embed, with definitions but without files of their own.
library=(
  k8s.io/api/core/v1
  k8s.io/apimachinery/pkg/api/resource
  k8s.io/apimachinery/pkg/apis/meta/v1
  k8s.io/apimachinery/pkg/runtime
  k8s.io/apimachinery/pkg/util/intstr
  k8s.io/apimachinery/pkg/version
)

# openapi DIR PACKAGE...: definitions of the packages' types, and a report of broken API conventions
openapi() {
  local out=$1 package readonly=()
  for package in "${library[@]}" k8s.io/apimachinery/pkg/types time; do
    readonly+=(--readonly-pkg "$package")
  done
  mkdir -p "$root/$out"
  run openapi-gen --go-header-file "$header" \
    --output-dir "$out" --output-pkg "image.alauda.io/registry/$out" \
    --output-file zz_generated.openapi.go --output-model-name-file zz_generated.model_name.go \
    --report-filename "$out/violations.list" "${readonly[@]}" "${@:2}"
}

clients() {
  local types=(image.alauda.io/api/image/v1 image.alauda.io/api/imageregistry/v1)
  local common=(--go-header-file "$header")
  local package=image.alauda.io/client-go
  local schema
  schema=$(mktemp)
  (cd "$root" && go run -trimpath ./hack/codegen/schema) >"$schema"
  run applyconfiguration-gen "${common[@]}" --openapi-schema "$schema" \
    --output-dir "$client/applyconfigurations" --output-pkg $package/applyconfigurations "${types[@]}"
  rm -f "$schema"
  run client-gen "${common[@]}" --clientset-name versioned \
    --input-base image.alauda.io/api --input image/v1 --input imageregistry/v1 \
    --output-dir "$client/clientset" --output-pkg $package/clientset \
    --apply-configuration-package $package/applyconfigurations
  run lister-gen "${common[@]}" \
    --output-dir "$client/listers" --output-pkg $package/listers "${types[@]}"
  run informer-gen "${common[@]}" \
    --output-dir "$client/informers" --output-pkg $package/informers \
    --versioned-clientset-package $package/clientset/versioned \
    --listers-package $package/listers "${types[@]}"
}

definitions() {
  local crd=$root/manifests/crd hidden=$root/manifests/operands/image-api-server made
  made=$(mktemp -d)
  mkdir -p "$crd" "$hidden"
  run controller-gen "crd:maxDescLen=$max_description" paths=image.alauda.io/api/imageregistry/v1 \
    "output:crd:dir=$crd"
  run controller-gen "crd:maxDescLen=$max_description" paths=image.alauda.io/api/storage/v1 \
    "output:crd:dir=$made"
  local file name
  for file in "$made"/*.yaml; do
    name=$(basename "$file")
    mv "$file" "$hidden/crd-${name#storage.image.alauda.io_}"
  done
  rmdir "$made"
  for file in "$crd"/imageregistry*.yaml "$hidden"/crd-*.yaml; do
    if [ "$(stat -c %s "$file")" -ge $max_crd_bytes ]; then
      echo "update-codegen: $file is larger than $max_crd_bytes bytes; lower max_description" >&2
      return 1
    fi
  done
}

# bundle: what the lifecycle manager installs, from the manifests and the definitions made above
bundle() {
  (cd "$root" && go run -trimpath ./hack/bundle >/dev/null)
}

# Everything that a generator reads or writes, twice: as it is, and as it should be.
copy() {
  local tree=(go.mod go.sum go.work hack/boilerplate.go.txt hack/bundle hack/codegen staging pkg manifests)
  [ -f "$repo/go.work.sum" ] && tree+=(go.work.sum)
  mkdir "$work/is"
  tar -C "$repo" -cf - "${tree[@]}" | tar -C "$work/is" -xf -
  cp -a "$work/is" "$root"
  # Generators leave the files of types that no longer exist.
  (cd "$root" && rm -rf "$client"/{applyconfigurations,clientset,listers,informers} \
    manifests/crd/imageregistry.operator.alauda.io_*.yaml manifests/operands/image-api-server/crd-*.yaml &&
    find hack/codegen staging pkg -name 'zz_generated.*.go' -delete)
  mkdir -p "$(dirname "$root/$imagestore")"
  cp -a "$work/is/$imagestore" "$root/$imagestore"
}

# differences: the files that differ, one a line. Loading packages alone may complete go.work.sum.
differences() {
  (cd "$work" && { diff -rqN -x go.work.sum is should || true; } | sed -E 's|^Files is/(.*) and should/.* differ$|\1|')
}

# adopt: brings the differences into the tree
adopt() {
  local file
  while read -r file; do
    if [ -e "$root/$file" ]; then
      mkdir -p "$(dirname "$repo/$file")"
      cp "$root/$file" "$repo/$file"
    else
      rm -f "$repo/$file"
    fi
    echo "$file"
  done
}

build_tools
copy
deepcopies
conversions
# The server publishes its own types with all that they embed; the operator's are needed for clients only.
openapi pkg/imageapiserver/openapi "${library[@]}" image.alauda.io/api/image/v1
openapi hack/codegen/openapi image.alauda.io/api/imageregistry/v1
clients
definitions
bundle

if $check; then
  stale=$(differences)
  if [ -n "$stale" ]; then
    echo "not up to date, run hack/update-codegen.sh:" >&2
    sed 's/^/  /' <<<"$stale" >&2
    exit 1
  fi
else
  differences | adopt
fi
