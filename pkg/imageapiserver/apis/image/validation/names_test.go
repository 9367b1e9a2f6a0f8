package validation

import "testing"

// Behaviour 22, generated names: a prefix is judged by what it begins.
func TestPrefixesOfStreamNames(t *testing.T) {
	for _, prefix := range []string{"app-", "app_", "app.", "app", "a--"} {
		if problems := StreamName(prefix, true); len(problems) > 0 {
			t.Errorf("prefix %q: %v", prefix, problems)
		}
	}
	for _, prefix := range []string{"-app", "App-", "a/b-", "app..", "a:"} {
		if len(StreamName(prefix, true)) == 0 {
			t.Errorf("prefix %q is accepted", prefix)
		}
	}
	for _, name := range []string{"app-", "app_", "app."} {
		if len(StreamName(name, false)) == 0 {
			t.Errorf("name %q is accepted", name)
		}
	}
}
