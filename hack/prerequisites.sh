#!/usr/bin/env bash
# Makes sure that the machine has what building and testing need, and says in one line what is missing.
set -euo pipefail

minimum=1.26

if ! command -v go >/dev/null; then
  echo "Go $minimum or later is needed and was not found in PATH" >&2
  exit 1
fi
version=$(go env GOVERSION)
if [ "$(printf '%s\n%s\n' "$minimum" "${version#go}" | sort -V | head -n 1)" != "$minimum" ]; then
  echo "Go $minimum or later is needed, found $version" >&2
  exit 1
fi

missing=()
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
command -v git >/dev/null || missing+=(git)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "please install: ${missing[*]}" >&2
  exit 1
fi
echo "installing ${missing[*]}"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
