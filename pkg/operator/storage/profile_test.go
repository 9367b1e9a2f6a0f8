package storage

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go/aws/credentials"
)

// Behaviour 49: the same for the file of shared credentials, as the client of AWS reads it. What it would read
// as something else is refused.
func TestKeysReachTheClientOfAWSUnchanged(t *testing.T) {
	for _, text := range []string{"0123", "1e5", "true", "a:b", "0x1F", "a=b", "a = b", "x #y", "x;y", "#x", ";x", "[x]", "a[b", "a,b", "@s/+=", "a'b", `a"b`, `a\b`, "a  b", "é", "$x", "%x", "=x", "x=", "-1", "1.5"} {
		file, err := profile(text, "S"+text+"E")
		if err != nil {
			t.Errorf("%q is refused: %v", text, err)
			continue
		}
		path := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := credentials.NewSharedCredentials(path, "default").Get()
		if err != nil || got.AccessKeyID != text || got.SecretAccessKey != "S"+text+"E" {
			t.Errorf("%q arrives as %q and %q: %v", text, got.AccessKeyID, got.SecretAccessKey, err)
		}
	}
	for _, text := range []string{" x", "x\t", `"x`, "x'", "a\nb", "a\rb", "a\x00b", `#a"b`, `a #\b`} {
		if _, err := profile(text, "s"); err == nil {
			t.Errorf("%q is not refused", text)
		}
	}
}
