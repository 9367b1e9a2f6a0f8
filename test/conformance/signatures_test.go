package conformance

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"image.alauda.io/registry/pkg/registry/app"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/imageapi/imageapitest"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func withSignatures(d *app.Dependencies) { d.Signatures = d.API.(*imageapitest.API) }

func signature(name, kind string, content []byte) []byte {
	return []byte(fmt.Sprintf(`{"schemaVersion":2,"name":%q,"type":%q,"content":%q}`, name, kind, base64.StdEncoding.EncodeToString(content)))
}

// Behaviour 63.
func TestSignatures(t *testing.T) {
	e := startWith(t, inmemory.New(), withSignatures)
	image := digestOf(e.pushImage("team/app", "v1", "signed"))
	foreign := digestOf(e.pushImage("team/other", "v1", "foreign"))
	path := func(repo, digest string) string { return "/extensions/v2/" + repo + "/signatures/" + digest }
	put := func(digest string, body []byte, token ...string) *reply {
		t.Helper()
		return e.do(call{method: "PUT", path: path("team/app", digest), body: body, token: strings.Join(token, "")})
	}
	read := func() (list struct {
		Signatures []struct {
			SchemaVersion       int
			Name, Type, Content string
		}
	}) {
		t.Helper()
		answer := e.get(path("team/app", image)).want(200).header("Content-Type", "application/json")
		if err := json.Unmarshal(answer.body, &list); err != nil {
			t.Fatal(err)
		}
		return list
	}
	if body := e.get(path("team/app", image)).want(200).body; string(body) != `{"signatures":[]}` {
		t.Errorf("no signatures: %s", body)
	}
	denied := put(image, signature(image+"@one", "atomic", []byte("x"))).want(403, "DENIED")
	if !strings.Contains(denied.message(), `user "dev" cannot create imagesignatures "team/app"`) {
		t.Errorf("message %q", denied.message())
	}
	reviews := e.reviewer.AccessReviews()
	if got := reviews[len(reviews)-2:]; got[0] != auth.CreateSignature("team", "app") || got[1] != auth.CreateSignature("", "") {
		t.Errorf("asked for %v", got)
	}

	e.reviewer.Allow("other", auth.CreateSignature("", "")) // everywhere
	e.reviewer.Allow("pruner", auth.CreateSignature("team", "app"))
	if body := put(image, signature(image+"@one", "atomic", []byte("first")), otherToken).want(201).body; len(body) != 0 {
		t.Errorf("body %q", body)
	}
	put(image, signature(image+"@two", "", []byte("second")), prunerToken).want(201)
	put(image, signature(image+"@one", "atomic", []byte("other")), otherToken).want(409, "SIGNATURE_EXISTS")
	got := read().Signatures
	if len(got) != 2 || got[0].Name != image+"@one" || got[0].Type != "atomic" || got[0].SchemaVersion != 2 || got[0].Content != base64.StdEncoding.EncodeToString([]byte("first")) || got[1].Type != "AtomicImageV1" {
		t.Errorf("read %+v", got)
	}

	for what, body := range map[string][]byte{
		"no JSON": []byte("<x>"), "a list": []byte("[]"), "nothing": nil, "two": append(signature(image+"@x", "t", []byte("x")), []byte("{}")...),
		"another version": []byte(strings.Replace(string(signature(image+"@x", "t", []byte("x"))), ":2", ":1", 1)),
		"bad base64":      []byte(fmt.Sprintf(`{"schemaVersion":2,"name":"%s@x","type":"t","content":"%%"}`, image)),
		"another digest":  signature(foreign+"@x", "t", []byte("x")), "no name": signature(image+"@", "t", []byte("x")), "no digest": signature("x", "t", []byte("x")),
		"no content": signature(image+"@x", "t", nil),
	} {
		if codes := put(image, body, otherToken).want(400).codes(); codes[0] != "SIGNATURE_INVALID" {
			t.Errorf("%s: %v", what, codes)
		}
	}
	big := make([]byte, 200<<10)
	put(image, signature(image+"@x", "t", big), otherToken).want(413, "SIGNATURE_INVALID")

	put(foreign, signature(foreign+"@x", "t", []byte("x")), otherToken).want(404, "MANIFEST_UNKNOWN")
	e.get(path("team/app", foreign)).want(404, "MANIFEST_UNKNOWN")
	e.get(path("team/app", "sha512:"+strings.Repeat("a", 128))).want(404, "MANIFEST_UNKNOWN")
	e.get(path("team/app", "sha256:x")).want(400, "DIGEST_INVALID")
	e.get(path("a/b/c", image)).want(400, "NAME_INVALID")
	e.do(call{method: "GET", path: path("team/app", image), token: otherToken}).want(403, "DENIED")
	e.do(call{method: "DELETE", path: path("team/app", image)}).want(405).header("Allow", "GET, PUT")
	e.do(call{method: "GET", path: path("team/app", image), token: "none"}).want(401, "UNAUTHORIZED")
	if len(read().Signatures) != 2 {
		t.Error("a refused signature was stored")
	}

	e.api.Fail(func(call string) error {
		if call == "CreateSignature" {
			return apierrors.NewInvalid(imageKind, "x", nil)
		}
		return nil
	})
	put(image, signature(image+"@x", "t", []byte("x")), otherToken).want(400, "SIGNATURE_INVALID")
	e.api.Fail(func(string) error { return errors.New("the API is away") })
	put(image, signature(image+"@x", "t", []byte("x")), otherToken).want(503, "UNAVAILABLE")
}
