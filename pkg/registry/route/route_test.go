package route

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"image.alauda.io/registry/pkg/registry/apierror"
)

const (
	serverAddr = "image-registry.image-registry-system.svc:5000"
	someDigest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	someUUID   = "123e4567-e89b-42d3-a456-426614174000"
)

func parse(t *testing.T, path string) (Route, error) {
	t.Helper()
	u, err := url.ParseRequestURI(path)
	if err != nil {
		t.Fatalf("path %q: %v", path, err)
	}
	return Parse(u, serverAddr)
}

// Behaviours 1 and 2.
func TestParseFindsTheNoun(t *testing.T) {
	tests := []struct {
		path      string
		kind      Kind
		name      string
		reference string
	}{
		{"/v2", Base, "", ""},
		{"/v2/", Base, "", ""},
		{"/v2/_catalog", Catalog, "", ""},
		{"/v2/team/app/tags/list", Tags, "team/app", ""},
		{"/v2/team/app/manifests/v1.0", Manifest, "team/app", "v1.0"},
		{"/v2/team/app/manifests/" + someDigest, Manifest, "team/app", someDigest},
		{"/v2/team/blobs/manifests/tags", Manifest, "team/blobs", "tags"},
		{"/v2/team/manifests/tags/list", Tags, "team/manifests", ""},
		{"/v2/team/tags/tags/list", Tags, "team/tags", ""},
		{"/v2/team/manifests/blobs/" + someDigest, Blob, "team/manifests", someDigest},
		{"/v2/team/app/blobs/uploads", UploadStart, "team/app", ""},
		{"/v2/team/app/blobs/uploads/", UploadStart, "team/app", ""},
		{"/v2/blobs/uploads/blobs/uploads/", UploadStart, "blobs/uploads", ""},
		{"/v2/team/app/blobs/uploads/" + someUUID, Upload, "team/app", ""},
		{"/v2/team/app/referrers/" + someDigest, Referrers, "team/app", someDigest},
		{"/alauda/token", Token, "", ""},
		{"/extensions/v2/metrics", Metrics, "", ""},
		{"/healthz", Ready, "", ""},
		{"/v2/team/app", Unknown, "", ""},
		{"/extensions/v2/team/app/signatures/" + someDigest, Signatures, "team/app", someDigest},
		{"/admin/blobs/" + someDigest, AdminBlob, "", someDigest},
		{"/admin/gc", AdminGC, "", ""},
		{"/admin", Unknown, "", ""},
		{"/admin/blobs", Unknown, "", ""},
		{"/v1/_ping", Unknown, "", ""},
	}
	for _, test := range tests {
		route, err := parse(t, test.path)
		if err != nil {
			t.Errorf("%s: %v", test.path, err)
			continue
		}
		if route.Kind != test.kind || route.Name.String() != test.name || route.Reference() != test.reference {
			t.Errorf("%s: %s of %q with %q, want %s of %q with %q", test.path,
				route.Kind, route.Name, route.Reference(), test.kind, test.name, test.reference)
		}
	}
}

// Behaviours 1 and 3.
func TestParseRefuses(t *testing.T) {
	tests := []struct {
		path string
		code apierror.Code
	}{
		{"/v2/a/tags/list", apierror.CodeNameInvalid},
		{"/v2/a/b/c/tags/list", apierror.CodeNameInvalid},
		{"/v2/A/b/tags/list", apierror.CodeNameInvalid},
		{"/v2/a/B/tags/list", apierror.CodeNameInvalid},
		{"/v2/a//b/tags/list", apierror.CodeNameInvalid},
		{"/v2/a/../tags/list", apierror.CodeNameInvalid},
		{"/v2/a/%2e%2e/tags/list", apierror.CodeNameInvalid},
		{"/v2/a%2Fb/tags/list", apierror.CodeNameInvalid},
		{"/v2/a/b%2fc/manifests/x", apierror.CodeNameInvalid},
		{"/v2/a.b/c/tags/list", apierror.CodeNameInvalid},
		{"/v2/a/b___c/tags/list", apierror.CodeNameInvalid},
		{"/v2/a/-b/tags/list", apierror.CodeNameInvalid},
		{"/v2/a/%C3%A4/tags/list", apierror.CodeNameInvalid},
		{"/v2/" + strings.Repeat("a", 64) + "/b/tags/list", apierror.CodeNameInvalid},
		{"/v2/a/" + strings.Repeat("b", 300) + "/tags/list", apierror.CodeNameInvalid},
		{"/v2/a/b/manifests/.x", apierror.CodeTagInvalid},
		{"/v2/a/b/manifests/..", apierror.CodeTagInvalid},
		{"/v2/a/b/manifests/" + strings.Repeat("x", 129), apierror.CodeTagInvalid},
		{"/v2/a/b/manifests/sha256:abc", apierror.CodeDigestInvalid},
		{"/v2/a/b/manifests/md5:d41d8cd98f00b204e9800998ecf8427e", apierror.CodeDigestInvalid},
		{"/v2/a/b/blobs/latest", apierror.CodeDigestInvalid},
		{"/v2/a/b/referrers/latest", apierror.CodeDigestInvalid},
		{"/v2/a/b/blobs/uploads/..", apierror.CodeBlobUploadUnknown},
		{"/v2/a/b/blobs/uploads/%2e%2e", apierror.CodeBlobUploadUnknown},
		{"/v2/a/b/blobs/uploads/1", apierror.CodeBlobUploadUnknown},
	}
	for _, test := range tests {
		route, err := parse(t, test.path)
		var refusal *apierror.Error
		if !errors.As(err, &refusal) {
			t.Errorf("%s: accepted as %+v", test.path, route)
			continue
		}
		if refusal.Entries[0].Code != test.code {
			t.Errorf("%s: %v, want %s", test.path, refusal, test.code)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"/v2/", "/v2/a/b/tags/list", "/v2/a/b/blobs/uploads/" + someUUID, "/v2/a/%2e%2e/manifests/x", "/v2/a/b/manifests/" + someDigest} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		route, err := Parse(u, serverAddr)
		if err != nil {
			var refusal *apierror.Error
			if !errors.As(err, &refusal) || refusal.Status < 400 || refusal.Status > 499 {
				t.Fatalf("%q: %v is no refusal of the client", path, err)
			}
			return
		}
		for _, part := range []string{route.Name.Namespace, route.Name.Stream, route.Tag, route.UploadID} {
			if strings.ContainsAny(part, "/\\%\x00") || part == "." || part == ".." {
				t.Fatalf("%q: part %q could leave its directory", path, part)
			}
		}
	})
}

func FuzzParseReferences(f *testing.F) {
	f.Add("latest", someDigest)
	f.Fuzz(func(t *testing.T, tag, digest string) {
		if parsed, err := ParseTag(tag); err == nil && (parsed != tag || strings.ContainsAny(tag, "/: ") || len(tag) > 128) {
			t.Fatalf("tag %q accepted", tag)
		}
		if parsed, err := ParseDigest(digest); err == nil && (parsed.String() != digest || parsed.Validate() != nil) {
			t.Fatalf("digest %q accepted", digest)
		}
	})
}
