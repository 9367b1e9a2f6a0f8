#!/usr/bin/env bash
# Brings the programs that test/runtimes drives into _output/runtimes: containerd and docker of Debian's
# packages, unpacked and not installed; a later containerd 1.7 from its Go module; podman, skopeo and the
# emulator of arm64. What is there already stays.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

containerd=github.com/containerd/containerd@v1.7.35
unpacked=(containerd docker.io qemu-user-static)
installed=(podman skopeo)

out=$PWD/_output/runtimes
mkdir -p "$out/bin"
missing=()
for package in "${installed[@]}"; do
  command -v "$package" >/dev/null || missing+=("$package")
done
absent=()
for package in "${unpacked[@]}"; do
  [ -d "$out/$package" ] || absent+=("$package")
done
if [ ${#missing[@]} -gt 0 ] || [ ${#absent[@]} -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "test/runtimes needs root and Debian's packages ${installed[*]} ${unpacked[*]}" >&2
    exit 1
  fi
  apt-get update -qq
fi
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
for package in "${absent[@]}"; do
  echo "unpacking $package"
  download=$(mktemp -d)
  (cd "$download" && apt-get download -qq -o APT::Sandbox::User=root "$package")
  dpkg-deb -x "$download"/*.deb "$out/$package.part"
  mv "$out/$package.part" "$out/$package"
  rm -r "$download"
done

if [ "$(cat "$out/bin/.containerd" 2>/dev/null)" != "$containerd" ]; then
  echo "building $containerd"
  # Its go.mod excludes modules, which "go install" refuses; in its own directory it is the main module.
  module=$(cd / && GOWORK=off go mod download -json "$containerd" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  (cd "$module" && GOWORK=off GOFLAGS=-mod=mod CGO_ENABLED=0 go build -ldflags '-s -w' \
    -tags 'no_btrfs no_devmapper no_zfs no_aufs' -o "$out/bin/" ./cmd/containerd ./cmd/ctr)
  echo "$containerd" >"$out/bin/.containerd"
fi
