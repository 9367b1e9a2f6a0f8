package reference

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestStreamNames(t *testing.T) {
	for _, name := range []string{"app", "my-app", "my.app", "a__b", "a--b", "0"} {
		if err := ValidateStreamName("team", name); err != nil {
			t.Errorf("ValidateStreamName(%q): %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", "a%b", "App", "a:b", "a@b", "-a", "a.", strings.Repeat("a", 251)} {
		if err := ValidateStreamName("team", name); !errors.Is(err, ErrInvalidFormat) {
			t.Errorf("ValidateStreamName(%q) = %v, want ErrInvalidFormat", name, err)
		}
	}
	if err := ValidateStreamName("team", strings.Repeat("a", 250)); err != nil {
		t.Errorf("a name that just fits: %v", err)
	}
}

func TestCompoundNames(t *testing.T) {
	type split func(string) (string, string, error)
	for _, tc := range []struct {
		what          string
		split         split
		text          string
		before, after string
		ok            bool
	}{
		{"tag", SplitStreamTag, "app:v1", "app", "v1", true},
		{"tag", SplitStreamTag, "app", "", "", false},
		{"tag", SplitStreamTag, "app:", "", "", false},
		{"tag", SplitStreamTag, ":v1", "", "", false},
		{"tag", SplitStreamTag, "a:b:c", "", "", false},
		{"tag", SplitStreamTag, "a@b:c", "", "", false},
		{"image", SplitStreamImage, "app@" + digestA, "app", digestA, true},
		{"image", SplitStreamImage, "app@abc", "app", "abc", true},
		{"image", SplitStreamImage, "app", "", "", false},
		{"image", SplitStreamImage, "app@", "", "", false},
		{"image", SplitStreamImage, "a@b@c", "", "", false},
		{"signature", SplitSignature, digestA + "@s", digestA, "s", true},
		{"signature", SplitSignature, "@s", "", "", false},
		{"tag source", SplitTagSource, "v1", "", "v1", true},
		{"tag source", SplitTagSource, "app:v1", "app", "v1", true},
		{"tag source", SplitTagSource, "app:", "app", "latest", true},
		{"tag source", SplitTagSource, "", "", "latest", true},
		{"tag source", SplitTagSource, ":v1", "", "", false},
		{"tag source", SplitTagSource, "a:b:c", "", "", false},
		{"image source", SplitImageSource, "abc", "", "abc", true},
		{"image source", SplitImageSource, "app@abc", "app", "abc", true},
		{"image source", SplitImageSource, "app@", "", "", false},
		{"image source", SplitImageSource, "a@b@c", "", "", false},
	} {
		before, after, err := tc.split(tc.text)
		if (err == nil) != tc.ok || before != tc.before || after != tc.after {
			t.Errorf("%s %q = %q, %q, %v, want %q, %q, ok %v", tc.what, tc.text, before, after, err, tc.before, tc.after, tc.ok)
		}
	}
	if got := JoinStreamTag("app", ""); got != "app:latest" {
		t.Errorf("an empty tag joins to %q, want app:latest", got)
	}
}

func TestMatchIDFindsOneDigestOrNamesTheCandidates(t *testing.T) {
	digests := []string{digestA, digestB, digestA, ""}
	for _, tc := range []struct {
		id, want   string
		candidates int
	}{
		{digestA, digestA, 0},
		{"aaaab", digestB, 0},
		{"sha256:aaaab", digestB, 0},
		{"ffff", "", 0},
		{"", "", 0},
		{"aaaa", "", 2},
	} {
		got, err := MatchID(tc.id, digests)
		var ambiguous *AmbiguousIDError
		if errors.As(err, &ambiguous) != (tc.candidates > 0) || got != tc.want {
			t.Errorf("MatchID(%q) = %q, %v, want %q", tc.id, got, err, tc.want)
			continue
		}
		if ambiguous != nil && len(ambiguous.Candidates) != tc.candidates {
			t.Errorf("MatchID(%q) names %v, want %d candidates", tc.id, ambiguous.Candidates, tc.candidates)
		}
	}
}

func TestAmbiguousIDsAreNotAllNamed(t *testing.T) {
	err := &AmbiguousIDError{ID: "a", Candidates: make([]string, 5000)}
	for i := range err.Candidates {
		err.Candidates[i] = fmt.Sprintf("sha256:%064x", i)
	}
	if text := err.Error(); len(text) > 1000 || !strings.Contains(text, err.Candidates[9]) || !strings.HasSuffix(text, " and 4990 more") {
		t.Errorf("the text has %d bytes: %.200s", len(text), text)
	}
}
