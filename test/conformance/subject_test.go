package conformance

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
)

// Behaviour 50: what is about a referrer is kept with the subject of that referrer.
func TestReferrerOfAReferrerIsNotPruned(t *testing.T) {
	storage := newAging()
	e := startOn(t, storage)
	last := e.pushImage(repo, "v1", "image")
	var chain [][]byte
	for i := range 2 {
		raw := e.image(repo, fmt.Sprint(i), `"subject":`+descriptor(ociManifest, last)+`,`)
		e.putManifest(repo, digestOf(raw), raw, ociManifest).want(201)
		chain, last = append(chain, raw), raw
	}
	storage.by.Store(int64(11 * time.Minute))
	prune := func(raw []byte) *reply {
		return e.do(call{method: "DELETE", path: "/v2/team/app/manifests/" + digestOf(raw), token: prunerToken})
	}
	for _, raw := range chain {
		prune(raw).want(405, "UNSUPPORTED")
	}
	e.remove("/v2/team/app/manifests/v1").want(202)
	prune(chain[1]).want(202)
	prune(chain[0]).want(202)
}

// Behaviour 9: the image API knows canonical digests only.
func TestSubjectOfAnotherAlgorithm(t *testing.T) {
	e := start(t)
	subject := e.image(repo, "subject")
	sum := sha512.Sum512(subject)
	alias := "sha512:" + hex.EncodeToString(sum[:])
	e.putManifest(repo, alias, subject, ociManifest).want(201)
	raw := e.image(repo, "referrer", fmt.Sprintf(`"subject":{"mediaType":%q,"digest":%q,"size":%d},`, ociManifest, alias, len(subject)))
	e.putManifest(repo, digestOf(raw), raw, ociManifest).want(201).header("OCI-Subject", alias)
	image, err := e.api.Image(t.Context(), digestOf(raw))
	if err != nil || image.Annotations[imagev1.ImageSubjectAnnotation] != digestOf(subject) {
		t.Errorf("annotations %v, %v; want the canonical subject", image.Annotations, err)
	}
}
