#!/usr/bin/env bash
# Builds Traefik, the ingress controller of the end-to-end tests, into _output/bin/traefik.
#
# One package of it is replaced: the list of DNS providers with which it could ask for certificates. No test
# does that, the libraries of a hundred clouds would triple the time of the build, and some of them cannot be
# fetched. Everything that a request passes is built as it was published.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export GOWORK=off CGO_ENABLED=0
here=$PWD
out=$(cd ../.. && mkdir -p _output/bin _output/ingress && cd _output && pwd)
lego=github.com/go-acme/lego/v5

go mod download "$lego"
rm -rf "$out/ingress/lego"
cp -r "$(go list -m -f '{{.Dir}}' "$lego")" "$out/ingress/lego"
chmod -R u+w "$out/ingress/lego"
rm -rf "$out/ingress/lego/providers/dns"
mkdir -p "$out/ingress/lego/providers/dns"
sed '1,/^$/d' dnsproviders.go >"$out/ingress/lego/providers/dns/providers.go"

cp go.mod go.sum "$out/ingress/"
go mod edit -replace "$lego=$out/ingress/lego" -replace "github.com/traefik/traefik/dynamic/ext=$here/ext" "$out/ingress/go.mod"
go build -modfile "$out/ingress/go.mod" -trimpath -ldflags '-s -w' -o "$out/bin/traefik" github.com/traefik/traefik/v3/cmd/traefik
