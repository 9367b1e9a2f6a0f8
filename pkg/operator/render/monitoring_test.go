package render

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// runbooks are the addresses of the pages, by alert.
func runbooks(t *testing.T, s Settings, operands bool) map[string]string {
	t.Helper()
	objects, err := Monitoring(s, operands)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, object := range objects {
		groups, _, _ := unstructured.NestedSlice(object.Object, "spec", "groups")
		for _, group := range groups {
			for _, rule := range group.(map[string]any)["rules"].([]any) {
				fields := rule.(map[string]any)
				if alert, ok := fields["alert"].(string); ok {
					out[alert] = fields["annotations"].(map[string]any)["runbook_url"].(string)
				}
			}
		}
	}
	return out
}

func TestRunbooksLeadWhereTheAdministratorKeepsThem(t *testing.T) {
	for _, test := range []struct{ address, want string }{
		{"", "https://image.alauda.io/registry/docs/runbooks/ImageRegistryOperatorDown.md"},
		{"https://wiki.example.com/runbooks", "https://wiki.example.com/runbooks/ImageRegistryOperatorDown.md"},
		{"https://wiki.example.com/runbooks/", "https://wiki.example.com/runbooks/ImageRegistryOperatorDown.md"},
		{"https://wiki.example.com/page?title={alert}", "https://wiki.example.com/page?title=ImageRegistryOperatorDown"},
	} {
		for _, operands := range []bool{true, false} {
			settings := settings(t)
			var err error
			if settings.RunbookURL, err = ParseRunbookURL(test.address); err != nil {
				t.Fatal(err)
			}
			all := runbooks(t, settings, operands)
			if got := all["ImageRegistryOperatorDown"]; got != test.want {
				t.Errorf("RUNBOOK_URL %q, operands %t: got %s, want %s", test.address, operands, got, test.want)
			}
			if (len(all) > 5) != operands {
				t.Errorf("operands %t: alerts %v", operands, all)
			}
			for alert, address := range all {
				if !strings.Contains(address, alert) {
					t.Errorf("RUNBOOK_URL %q: %s leads to %s", test.address, alert, address)
				}
			}
		}
	}
}

func TestRunbookAddressIsChecked(t *testing.T) {
	for _, text := range []string{"wiki", "ftp://wiki.example.com", "https://", "https://me:secret@wiki.example.com", "://", "javascript:alert(1)"} {
		_, err := ParseRunbookURL(text)
		if err == nil {
			t.Errorf("%q was taken", text)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error has the password: %v", err)
		}
	}
}
