package manifests

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const (
	readWrite = "get list watch create update patch delete deletecollection"
	readOnly  = "get list watch"
	editable  = "imagestreams imagestreamtags imagetags imagestreamimages imagestreammappings imagestreams/secrets: " + readWrite
)

// Behaviour image-api 56, the rules: exactly those of the specification, and the labels by which Kubernetes adds
// them to its own roles.
func TestUserRolesAreThoseOfTheSpecification(t *testing.T) {
	editor := []string{editable, "imagestreams/status: " + readOnly, "imagestreams/layers: get update", "imagestreamimports: create"}
	want := map[string]struct {
		rules []string
		into  string
	}{
		"system:image-puller":  {[]string{"imagestreams/layers: get", "imagestreams: get"}, ""},
		"system:image-pusher":  {[]string{"imagestreams/layers: get update", "imagestreams: get"}, ""},
		"system:image-builder": {[]string{"imagestreams/layers: get update", "imagestreams: get create"}, "admin edit"},
		"system:image-deleter": {[]string{
			"imagestreams imagestreamtags imagetags: get list delete", "imagestreamimages: get", "imagestreams/layers: get delete",
		}, ""},
		"system:image-signer":             {[]string{"images: get", "imagestreams/layers: get", "imagesignatures: create delete"}, ""},
		"system:image-auditor":            {[]string{"images: get list watch patch update"}, ""},
		"system:image-aggregate-to-admin": {editor, "admin"},
		"system:image-aggregate-to-edit":  {editor, "edit"},
		"system:image-aggregate-to-view": {[]string{
			"imagestreams imagestreamtags imagetags imagestreamimages: " + readOnly, "imagestreams/status: " + readOnly,
		}, "view"},
	}
	found := 0
	for _, role := range readRBAC(t, "operands/shared", "ClusterRole") {
		expected, known := want[role.Name]
		if !known {
			if strings.HasSuffix(role.file, "user-roles.yaml") {
				t.Errorf("%s: role %s is in no specification", role.file, role.Name)
			}
			continue
		}
		found++
		var rules []string
		for _, rule := range role.Rules {
			if !slices.Equal(rule.APIGroups, []string{"image.alauda.io"}) || len(rule.ResourceNames) > 0 || len(rule.NonResourceURLs) > 0 {
				t.Errorf("%s: unexpected rule %+v", role.Name, rule)
			}
			rules = append(rules, fmt.Sprintf("%s: %s", strings.Join(rule.Resources, " "), strings.Join(rule.Verbs, " ")))
		}
		if !slices.Equal(rules, expected.rules) {
			t.Errorf("%s:\n got %q\nwant %q", role.Name, rules, expected.rules)
		}
		var into []string
		for label, value := range role.Labels {
			if target, found := strings.CutPrefix(label, "rbac.authorization.k8s.io/aggregate-to-"); found && value == "true" {
				into = append(into, target)
			}
		}
		slices.Sort(into)
		if got := strings.Join(into, " "); got != expected.into {
			t.Errorf("%s is added to %q, want %q", role.Name, got, expected.into)
		}
	}
	if found != len(want) {
		t.Errorf("%d of %d roles are there", found, len(want))
	}
}
