package references

import (
	"fmt"
	"strings"
	"testing"
)

// What was parsed before means the same again, also after more strings than are remembered.
func TestRememberedStringsMeanTheSame(t *testing.T) {
	var m memory
	texts := []string{"", " ", "app", "quay.io/team/app:v1", "team/app@" + "sha256:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("b", 64), "docker://" + "sha256:" + strings.Repeat("b", 64), "UPPER/case", "team/app@sha256:short", "a:b:c"}
	check := func() {
		t.Helper()
		for _, text := range texts {
			want, wantErr := Parse(text)
			for range 2 {
				got, err := m.parse(text)
				if got != want || fmt.Sprint(err) != fmt.Sprint(wantErr) {
					t.Errorf("%q: %+v, %v, want %+v, %v", text, got, err, want, wantErr)
				}
			}
		}
	}
	check()
	for i := range remembered + 10 {
		if _, err := m.parse(fmt.Sprint("team/app:", i)); err != nil {
			t.Fatal(err)
		}
	}
	if count := len(m.parsed); count == 0 || count > remembered {
		t.Errorf("%d strings are remembered", count)
	}
	if _, err := m.parse(strings.Repeat("a", maxImage+1)); err == nil {
		t.Error("a text without end is an image")
	}
	for text := range m.parsed {
		if len(text) > maxImage {
			t.Errorf("%d bytes are remembered", len(text))
		}
	}
	check()
}
