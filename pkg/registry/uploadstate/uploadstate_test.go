package uploadstate

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

var state = State{Name: "team/app", UUID: "123e4567-e89b-42d3-a456-426614174000", Offset: 7, StartedAt: time.Unix(1700000000, 0).UTC()}

// Behaviour 11.
func TestOnlyOwnTokensOpen(t *testing.T) {
	signer := NewSigner("secret")
	token, err := signer.Sign(state)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := signer.Open(token); err != nil || got != state {
		t.Errorf("Open = %+v, %v; want %+v", got, err, state)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(token)
	raw[len(raw)-3] ^= 1
	for name, bad := range map[string]string{
		"empty":        "",
		"not base64":   "***",
		"too short":    token[:20],
		"truncated":    token[:len(token)-4],
		"tampered":     base64.RawURLEncoding.EncodeToString(raw),
		"too long":     strings.Repeat("A", MaxLength+1),
		"only the mac": token[:43],
	} {
		if _, err := signer.Open(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	if _, err := NewSigner("other").Open(token); !errors.Is(err, ErrInvalid) {
		t.Errorf("another secret opened the token: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	signer := NewSigner("secret")
	token, _ := signer.Sign(state)
	f.Add(token)
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := signer.Open(text)
		if err == nil && got != state {
			t.Fatalf("forged token %q opened as %+v", text, got)
		}
	})
}
