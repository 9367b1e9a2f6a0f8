#!/usr/bin/env bash
# Installs the programs that test/clients drives: Debian's packages, and into _output/clients what is
# built from its Go module at the version below. What is there at its version already stays.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(skopeo buildah podman)
modules=(
  github.com/google/go-containerregistry/cmd/crane@v0.22.1
  github.com/regclient/regclient/cmd/regctl@v0.11.7
  oras.land/oras/cmd/oras@v1.3.6
  helm.sh/helm/v3/cmd/helm@v3.22.0
  github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5
)

missing=()
for package in "${packages[@]}"; do
  command -v "$package" >/dev/null || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "please install: ${missing[*]}" >&2
    exit 1
  fi
  echo "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

bin=$PWD/_output/clients
mkdir -p "$bin"
for module in "${modules[@]}"; do
  name=$(basename "${module%@*}")
  [ -x "$bin/$name" ] && [ "$(cat "$bin/.$name" 2>/dev/null)" = "$module" ] && continue
  echo "building $module"
  (cd / && GOWORK=off GOFLAGS='' CGO_ENABLED=0 GOBIN=$bin go install "$module")
  echo "$module" >"$bin/.$name"
done
