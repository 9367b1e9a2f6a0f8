package keyring

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func secret(name, content string) corev1.Secret {
	return corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(content)}}
}

// oneLogin is a configuration with one entry, whose user is told apart in results.
func oneLogin(key, user string) string {
	return fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":"p"}}}`, key, user)
}

func users(credentials []Credential) []string {
	names := []string{}
	for _, c := range credentials {
		names = append(names, c.Username)
	}
	return names
}

// Behaviour 39.
func TestKeysMatchAsInTheKubelet(t *testing.T) {
	for _, test := range []struct {
		key, host, repository string
		want                  bool
	}{
		{"quay.io", "quay.io", "team/app", true},
		{"https://quay.io", "quay.io", "team/app", true},
		{"http://quay.io/v2/", "quay.io", "team/app", true},
		{"https://quay.io/v1", "quay.io", "team/app", true},
		{"QUAY.io", "quay.io", "team/app", true},
		{"quay.io/team", "quay.io", "team/app", true},
		{"quay.io/v2/team/", "quay.io", "team/app", true},
		{"quay.io/team/app", "quay.io", "team/app", true},
		{"quay.io/te", "quay.io", "team/app", true},
		{"quay.io/team/app/x", "quay.io", "team/app", false},
		{"quay.io/other", "quay.io", "team/app", false},
		// Both name the same port of the same host, and references are written with and without it.
		{"quay.io:443", "quay.io", "team/app", true},
		{"quay.io", "quay.io:443", "team/app", true},
		{"quay.io:80", "quay.io", "team/app", false},
		{"reg.example.com:5000", "reg.example.com:5000", "app", true},
		{"reg.example.com:5000", "reg.example.com:5001", "app", false},
		{"reg.example.com", "reg.example.com:5000", "app", false},
		{"*.example.com", "reg.example.com", "app", true},
		{"*.example.com", "a.reg.example.com", "app", false},
		{"*.example.com", "example.com", "app", false},
		{"reg*.example.com:5000", "reg7.example.com:5000", "app", true},
		{"*.*.com", "reg.example.com", "app", true},
		{"*", "reg.example.com", "app", false},
		{"reg.example.com:*", "reg.example.com:5000", "app", false},
		{"docker.io", "docker.io", "library/busybox", true},
		{"https://index.docker.io/v1/", "docker.io", "library/busybox", true},
		{"registry-1.docker.io", "index.docker.io", "library/busybox", true},
		{"docker.io/team", "registry-1.docker.io", "team/app", true},
		{"docker.io", "docker.io.evil.net", "app", false},
		{"[fd00::1]:5000", "[fd00::1]:5000", "app", true},
		{"[fd00::1]:5000", "[fd00::2]:5000", "app", false},
	} {
		k, malformed := FromSecrets([]corev1.Secret{secret("s", oneLogin(test.key, "u"))})
		if len(malformed) != 0 {
			t.Errorf("%s: %v", test.key, malformed)
			continue
		}
		if got := len(k.Lookup(test.host, test.repository)) == 1; got != test.want {
			t.Errorf("key %s for %s/%s: %v, want %v", test.key, test.host, test.repository, got, test.want)
		}
	}
}

// Behaviour 39.
func TestTheMostSpecificKeyComesFirstThenTheNameOfTheSecret(t *testing.T) {
	k, malformed := FromSecrets([]corev1.Secret{
		secret("z", oneLogin("reg.example.com/team", "path")),
		secret("c", oneLogin("*.example.com", "wildcard")),
		secret("b", oneLogin("reg.example.com", "b")),
		secret("a", oneLogin("https://reg.example.com/", "a")),
		secret("y", oneLogin("reg.example.com/team/app", "longest")),
		secret("x", oneLogin("other.example.com", "other")),
		secret("d", oneLogin("reg.example.com", "b")),
	})
	if len(malformed) != 0 {
		t.Fatal(malformed)
	}
	want := []string{"longest", "path", "a", "b", "wildcard"}
	if got := users(k.Lookup("reg.example.com", "team/app")); !slices.Equal(got, want) {
		t.Errorf("order is %v, want %v", got, want)
	}
	cluster, err := FromFile("config.json", []byte(oneLogin("reg.example.com/team/app", "cluster")))
	if err != nil {
		t.Fatal(err)
	}
	if got := users(Join(k, nil, cluster).Lookup("reg.example.com", "team/app")); !slices.Equal(got, append(want, "cluster")) {
		t.Errorf("joined order is %v, want the cluster's credential last", got)
	}
}

// Behaviour 39.
func TestMalformedSecretsAreSkippedAndReportedWithoutTheirContent(t *testing.T) {
	const sensitive = "hunter2"
	for name, bad := range map[string]corev1.Secret{
		"no JSON":          secret("bad", sensitive),
		"cut off":          secret("bad", `{"auths":{"quay.io":{"password":"`+sensitive),
		"another type":     secret("bad", `{"auths":{"quay.io":{"password":{"`+sensitive+`":1}}}}`),
		"auth not base64":  secret("bad", `{"auths":{"quay.io":{"auth":"`+sensitive+`!"}}}`),
		"auth without ':'": secret("bad", `{"auths":{"quay.io":{"auth":"`+base64.StdEncoding.EncodeToString([]byte(sensitive))+`"}}}`),
		"key is no host":   secret("bad", oneLogin("user:"+sensitive+"@quay.io", "u")),
		"bad pattern":      secret("bad", oneLogin("[a-"+sensitive, "u")),
		"missing key":      {ObjectMeta: metav1.ObjectMeta{Name: "bad"}, Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{"x": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			k, malformed := FromSecrets([]corev1.Secret{bad, secret("good", oneLogin("quay.io", "good"))})
			if len(malformed) != 1 || malformed[0].Secret != "bad" {
				t.Fatalf("malformed are %v, want the one called bad", malformed)
			}
			if text := malformed[0].Error(); strings.Contains(text, sensitive) {
				t.Errorf("the report repeats the content: %s", text)
			}
			if got := users(k.Lookup("quay.io", "app")); !slices.Equal(got, []string{"good"}) {
				t.Errorf("credentials are %v, want those of the good one", got)
			}
		})
	}
}

func TestFormsOfCredentials(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("ann:with:colon"))
	for content, want := range map[string][]Credential{
		`{"auths":{"r.io":{"auth":"` + auth + `"}}}`:                               {{Username: "ann", Password: "with:colon"}},
		`{"auths":{"r.io":{"auth":"` + strings.TrimRight(auth, "=") + `"}}}`:       {{Username: "ann", Password: "with:colon"}},
		`{"auths":{"r.io":{"auth":"` + auth + `","username":"x","password":"y"}}}`: {{Username: "ann", Password: "with:colon"}},
		`{"auths":{"r.io":{"username":"x","password":"y","email":"z"}}}`:           {{Username: "x", Password: "y"}},
		`{"auths":{"r.io":{"identitytoken":"i"}}}`:                                 {{IdentityToken: "i"}},
		`{"auths":{"r.io":{"registrytoken":"t"}}}`:                                 {{RegistryToken: "t"}},
		`{"auths":{"r.io":{}},"credsStore":"desktop"}`:                             nil,
		`{}`: nil,
	} {
		k, err := FromFile("f", []byte(content))
		if err != nil {
			t.Errorf("%s: %v", content, err)
			continue
		}
		if got := k.Lookup("r.io", "app"); !slices.Equal(got, want) {
			t.Errorf("%s gives %d credentials, want %d of a certain form", content, len(got), len(want))
		}
	}
	for _, content := range []string{`{"r.io":{"username":"x","password":"y"}}`, oneLogin("r.io", "x")} {
		k, malformed := FromSecrets([]corev1.Secret{{Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{corev1.DockerConfigKey: []byte(content)}}})
		if len(malformed) != 0 || len(k.Lookup("r.io", "app")) != 1 {
			t.Errorf("legacy %s: %v", content, malformed)
		}
	}
	k, malformed := FromSecrets([]corev1.Secret{{Type: corev1.SecretTypeOpaque, Data: map[string][]byte{corev1.DockerConfigKey: []byte("x")}}})
	if len(malformed) != 0 || k.Len() != 0 {
		t.Errorf("an Opaque Secret gives %d entries and %v", k.Len(), malformed)
	}
}

func TestExceptedHostsHaveNoCredentials(t *testing.T) {
	k, _ := FromSecrets([]corev1.Secret{secret("s", oneLogin("*.internal.svc:5000", "u"))})
	limited := Join(k.Except("Registry.internal.svc:5000"), nil)
	if n := len(limited.Lookup("registry.internal.svc:5000", "other/app")); n != 0 {
		t.Errorf("%d credentials for an excepted host, want none", n)
	}
	if n := len(limited.Lookup("mirror.internal.svc:5000", "other/app")); n != 1 {
		t.Errorf("%d credentials for another host, want 1", n)
	}
	if n := len(k.Lookup("registry.internal.svc:5000", "other/app")); n != 1 {
		t.Errorf("the original has %d credentials, want 1", n)
	}
	public, _ := FromSecrets([]corev1.Secret{secret("s", oneLogin("*.example.com", "u"))})
	for _, except := range []string{"registry.example.com", "registry.example.com:443"} {
		for _, host := range []string{"registry.example.com", "registry.example.com:443"} {
			if n := len(public.Except(except).Lookup(host, "other/app")); n != 0 {
				t.Errorf("%d credentials for %s although %s is excepted, want none", n, host, except)
			}
		}
	}
	var none *Keyring
	if none.Lookup("a", "b") != nil || none.Except("a").Lookup("a", "b") != nil {
		t.Error("a nil keyring has credentials")
	}
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%+v", k), fmt.Sprintf("%#v", k)} {
		if text != "keyring of 1 entries" {
			t.Errorf("a keyring prints as %s", text)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(oneLogin("quay.io/team", "u")))
	f.Add([]byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}}}`))
	f.Add([]byte(`{"auths":{"*.a:5":{"identitytoken":"x"},"[::1]:5/v2/x":{"registrytoken":"y"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, parse := range []func([]byte) ([]entry, error){parseConfig, parseLegacy} {
			found, err := parse(data)
			if err != nil && len(found) != 0 {
				t.Error("entries and an error")
			}
			newKeyring(found).Lookup("quay.io", "team/app")
			for _, e := range found {
				if e.credential == (Credential{}) {
					t.Error("an entry without a credential")
				}
			}
		}
	})
}

func FuzzPattern(f *testing.F) {
	for _, key := range []string{"quay.io/team", "*.a.b:1", "https://index.docker.io/v1/", "[::1]:5000/x", "a[", "//", "v1/"} {
		f.Add(key, "quay.io", "team/app")
	}
	f.Fuzz(func(t *testing.T, key, host, repository string) {
		p, err := parsePattern(key)
		if err != nil {
			return
		}
		_, wantedPort := splitPort(canonicalHost(host))
		if p.matches(canonicalHost(host), repository) && p.port != wantedPort {
			t.Errorf("key %q matches %q on another port", key, host)
		}
		if p.compare(p) != 0 {
			t.Errorf("key %q is not equal to itself", key)
		}
	})
}
