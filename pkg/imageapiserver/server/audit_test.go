package server

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapiserver "k8s.io/apiserver/pkg/server"
	genericoptions "k8s.io/apiserver/pkg/server/options"
)

// Behaviour 67, what is audited: writes by their metadata, and never a body or a read.
func TestDefaultAuditPolicy(t *testing.T) {
	loaded, err := policy.LoadPolicyFromBytes(defaultAuditPolicy)
	if err != nil {
		t.Fatal(err)
	}
	rules := policy.NewPolicyRuleEvaluator(loaded)
	levelOf := func(attributes authorizer.AttributesRecord) audit.Level {
		attributes.User = &user.DefaultInfo{Name: "somebody", Groups: []string{user.AllAuthenticated}}
		return rules.EvaluatePolicyRule(attributes).Level
	}
	want := map[string]audit.Level{
		"get": audit.LevelNone, "list": audit.LevelNone, "watch": audit.LevelNone,
		"create": audit.LevelMetadata, "update": audit.LevelMetadata, "patch": audit.LevelMetadata,
		"delete": audit.LevelMetadata, "deletecollection": audit.LevelMetadata,
	}
	for _, resource := range []string{"images", "imagestreams", "imagestreamtags", "imagestreammappings", "imagestreamimports"} {
		for verb, level := range want {
			got := levelOf(authorizer.AttributesRecord{
				Verb: verb, APIGroup: "image.alauda.io", APIVersion: "v1", Resource: resource, Namespace: "team", ResourceRequest: true,
			})
			if got != level {
				t.Errorf("%s %s is audited with level %s, want %s", verb, resource, got, level)
			}
		}
	}
	if got := levelOf(authorizer.AttributesRecord{Verb: "post", Path: "/lookup"}); got != audit.LevelNone {
		t.Errorf("a request of no resource is audited with level %s", got)
	}
}

// Behaviour 67, the flags: no log unless one is asked for, the default policy unless another is named, and
// no file is left behind.
func TestAuditIsOffUnlessAskedFor(t *testing.T) {
	for name, c := range map[string]struct {
		logPath, policy   string
		audited, readsToo bool
	}{
		"by default":          {},
		"to standard output":  {logPath: "-", audited: true},
		"with another policy": {logPath: "-", policy: "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n", audited: true, readsToo: true},
	} {
		t.Run(name, func(t *testing.T) {
			temporary := t.TempDir()
			t.Setenv("TMPDIR", temporary)
			options := genericoptions.NewAuditOptions()
			options.LogOptions.Path = c.logPath
			if c.policy != "" {
				options.PolicyFile = filepath.Join(t.TempDir(), "policy.yaml")
				if err := os.WriteFile(options.PolicyFile, []byte(c.policy), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			config := genericapiserver.NewConfig(serializer.NewCodecFactory(runtime.NewScheme()))
			if err := applyAudit(*options, config); err != nil {
				t.Fatal(err)
			}
			if audited := config.AuditBackend != nil; audited != c.audited {
				t.Fatalf("audited: %t, want %t", audited, c.audited)
			}
			if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
				t.Errorf("files left behind: %v, %v", left, err)
			}
			if !c.audited {
				return
			}
			read := config.AuditPolicyRuleEvaluator.EvaluatePolicyRule(authorizer.AttributesRecord{
				User: &user.DefaultInfo{Name: "somebody"}, Verb: "get", APIGroup: "image.alauda.io", Resource: "images", ResourceRequest: true,
			})
			if got := read.Level != audit.LevelNone; got != c.readsToo {
				t.Errorf("reads are audited: %t, want %t", got, c.readsToo)
			}
		})
	}
}
