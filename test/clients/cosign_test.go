//go:build clients

package clients

import "testing"

// Behaviour registry 99. Signatures with a local key, both as a tag that is made from the digest
// and as a referrer, and copied along with their image.
func TestCosign(t *testing.T) {
	for name, mode := range map[string]string{
		"fallback tag": `copy() { cosign copy --only=sig "$@"; }
sign() { cosign sign --yes --tlog-upload=false --use-signing-config=false --new-bundle-format=false --key cosign.key "$@"; }
verify() { cosign verify --insecure-ignore-tlog --new-bundle-format=false --key cosign.pub "$@"; }
`,
		"referrer": `export COSIGN_EXPERIMENTAL=1
copy() { oras copy -r "$@"; } # cosign copies only what has tags
sign() { cosign sign --yes --tlog-upload=false --use-signing-config=false --new-bundle-format=false --registry-referrers-mode=oci-1-1 --key cosign.key "$@"; }
verify() { cosign verify --insecure-ignore-tlog --new-bundle-format=false --experimental-oci11 --key cosign.pub "$@"; }
`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			login := `cosign login $REGISTRY -u builder --password-stdin <<<$TOKEN
`
			t.Log(d.run(t, login+`crane push image.tar $REGISTRY/$OURS/app:v1
				COSIGN_PASSWORD= cosign generate-key-pair`))
			digest := d.pulled(t, d.ours+"/app:v1")
			with := "export COSIGN_PASSWORD=\nDIGEST=" + digest + "\n" + mode
			out, err := d.try(t, nil, with+`verify $REGISTRY/$OURS/app:v1`)
			if err == nil {
				t.Errorf("an unsigned image is verified:\n%s", out)
			}
			t.Log(d.run(t, with+`sign $REGISTRY/$OURS/app@$DIGEST
				verify $REGISTRY/$OURS/app:v1
				verify $REGISTRY/$OURS/app@$DIGEST`))
			t.Log(d.run(t, with+`copy $REGISTRY/$OURS/app@$DIGEST $REGISTRY/$OTHER/copy:v1
				verify $REGISTRY/$OTHER/copy@$DIGEST`))
			if got := d.pulled(t, d.other+"/copy@"+digest); got != digest {
				t.Errorf("the copy has digest %s, want %s", got, digest)
			}
			t.Log(d.run(t, with+`cosign attest --yes --tlog-upload=false --use-signing-config=false --new-bundle-format=false --key cosign.key --type custom --predicate <(echo '{}') $REGISTRY/$OURS/app@$DIGEST
				cosign verify-attestation --insecure-ignore-tlog --new-bundle-format=false --key cosign.pub --type custom $REGISTRY/$OURS/app:v1`))
			said := d.refused(t, login, with+`sign $REGISTRY/$OURS/app@$DIGEST`)
			expectRefusal(t, said, "", "(get|update)", d)
			said = d.refused(t, login, with+`verify $REGISTRY/$OURS/app:v1`)
			expectRefusal(t, said, "", "get", d)
		})
	}
}
