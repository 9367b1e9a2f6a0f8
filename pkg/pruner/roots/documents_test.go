package roots

import "testing"

// A second document would be overlooked, and with it the users of images that it names.
func TestConfigurationIsOneDocument(t *testing.T) {
	for text, ok := range map[string]bool{
		"---\n# a comment\nwhitelist: [\"^a/\"]\n":                               true,
		"# a comment\n---\nwhitelist: [\"^a/\"]\n---\n# nothing\n":               true,
		"whitelist: [\"^a/\"]\n---\nroots:\n- {group: a.b, resource: widgets}\n": false,
		"---\n---\nroots:\n- {group: a.b, resource: widgets}\n":                  false,
		"whitelist: []\n...\n---\nnonsense: [\n":                                 false,
		"[]":                                                                     false,
	} {
		if _, err := ParseConfig([]byte(text)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
