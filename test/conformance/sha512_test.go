package conformance

import (
	"crypto/sha512"
	"encoding/hex"
	"testing"
)

// Behaviour 9 for manifests.
func TestSHA512Manifest(t *testing.T) {
	e := start(t)
	raw := e.image(repo, "sha512")
	sum := sha512.Sum512(raw)
	digest := "sha512:" + hex.EncodeToString(sum[:])
	e.putManifest(repo, digest, raw, ociManifest).want(201).header("Docker-Content-Digest", digest)
	e.get("/v2/team/app/manifests/"+digest).want(200).header("Docker-Content-Digest", digest)
	e.get("/v2/team/app/manifests/" + digestOf(raw)).want(200)
	e.remove("/v2/team/app/manifests/" + digest).want(202)
	e.get("/v2/team/app/manifests/" + digestOf(raw)).want(404)
}

// Behaviour 9: who pushed by sha512 with tags gets that digest by these tags, until they mean something else.
func TestTagOfASHA512Manifest(t *testing.T) {
	e := start(t)
	raw := e.image(repo, "sha512 and tags")
	sum := sha512.Sum512(raw)
	digest := "sha512:" + hex.EncodeToString(sum[:])
	e.putManifest(repo, "plain", raw, ociManifest).want(201)
	e.putManifest(repo, digest+"?tag=a&tag=b", raw, ociManifest).want(201)
	for _, tag := range []string{"a", "b"} {
		e.head("/v2/team/app/manifests/"+tag).want(200).header("Docker-Content-Digest", digest)
		e.get("/v2/team/app/manifests/"+tag).want(200).header("Docker-Content-Digest", digest).header("ETag", `"`+digest+`"`)
	}
	e.get("/v2/team/app/manifests/plain").want(200).header("Docker-Content-Digest", digestOf(raw))
	next := e.pushImage(repo, "a", "next")
	e.get("/v2/team/app/manifests/a").want(200).header("Docker-Content-Digest", digestOf(next))
	e.get("/v2/team/app/manifests/b").want(200).header("Docker-Content-Digest", digest)
	e.remove("/v2/team/app/manifests/" + digest).want(202)
	e.get("/v2/team/app/manifests/b").want(404)
}
