package pullsecret

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func configWith(registry, pull imageregistryv1.ManagementState) *imageregistryv1.Config {
	config := &imageregistryv1.Config{ObjectMeta: metav1.ObjectMeta{Name: "cluster"}}
	config.Spec.ManagementState = registry
	config.Spec.ImagePullSecret.ManagementState = pull
	return config
}

// Behaviour 68.
func TestEffectiveMode(t *testing.T) {
	const m, u, r = imageregistryv1.Managed, imageregistryv1.Unmanaged, imageregistryv1.Removed
	deleted := configWith(m, m)
	deleted.DeletionTimestamp = &metav1.Time{Time: start}
	tests := []struct {
		config *imageregistryv1.Config
		want   Mode
	}{
		{configWith(m, m), Full}, {configWith(m, u), Off}, {configWith(m, r), Remove},
		{configWith(u, m), RefreshOnly}, {configWith(u, u), Off}, {configWith(u, r), Off},
		{configWith(r, m), Remove}, {configWith(r, r), Remove}, {configWith(r, u), Off},
		{configWith(m, ""), Full}, {nil, Remove}, {deleted, Remove},
	}
	for _, test := range tests {
		if got := EffectiveMode(test.config); got != test.want {
			t.Errorf("%+v: mode %s, want %s", test.config, got, test.want)
		}
	}
}

// Behaviour 67.
func TestScope(t *testing.T) {
	scope := Scope{OperandNamespace: "image-registry-system", Ignored: []string{"skipped"}, IgnoreSystem: true}
	terminating := metav1.Time{Time: start}
	tests := []struct {
		name      string
		namespace corev1.Namespace
		note      string
		mode      Mode
		want      Mode
	}{
		{"workload", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a"}}, "", Full, Full},
		{"default", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, "", Full, Full},
		{"prefix of an ignored name", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "skipped-not"}}, "", Full, Full},
		{"ignored", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "skipped"}}, "", Full, Remove},
		{"ignored, refresh only", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "skipped"}}, "", RefreshOnly, Off},
		{"system", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system"}}, "", Full, Remove},
		{"any kube", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-flannel"}}, "", Full, Remove},
		{"platform", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "cpaas-system"}}, "", Full, Remove},
		{"operand", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "image-registry-system"}}, "", Full, Remove},
		{"label", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{IgnoreLabel: "true"}}}, "", Full, Remove},
		{"annotation", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, "false", Full, Remove},
		{"terminating", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", DeletionTimestamp: &terminating}}, "", Full, Off},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			account := accountFrom(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "x", Annotations: map[string]string{InjectAnnotation: test.note}}})
			if got := scope.ModeFor(test.mode, &test.namespace, account); got != test.want {
				t.Errorf("mode %s, want %s", got, test.want)
			}
		})
	}
	if !(Scope{OperandNamespace: "image-registry-system"}).HasNamespace(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system"}}) {
		t.Error("kube-system is out of scope although system namespaces are not ignored")
	}
}

// Behaviour 60.
func TestHosts(t *testing.T) {
	internal := []string{"image-registry.ns.svc.example.test:5000", "image-registry.ns.svc:5000"}
	tests := []struct {
		name string
		in   HostInput
		want []string
	}{
		{"IPv6 only", HostInput{ClusterIPs: []string{"fd00::1"}}, internal},
		{"dual stack", HostInput{ClusterIPs: []string{"198.18.0.1", "fd00::1"}}, append([]string{"198.18.0.1:5000"}, internal...)},
		{"headless", HostInput{ClusterIPs: []string{"None"}}, internal},
		{"ingress and additional", HostInput{External: []string{"r.example.com", ""}, Additional: []string{"lb:8443", "r.example.com"}},
			append(slices.Clone(internal), "lb:8443", "r.example.com")},
	}
	for _, test := range tests {
		test.in.Namespace, test.in.ClusterDomain = "ns", "example.test"
		if got := Hosts(test.in); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestSecretName(t *testing.T) {
	if got := SecretName("app-puller"); got != "app-puller-registry-pull" {
		t.Errorf("got %q", got)
	}
	long := strings.Repeat("a", 253)
	if got := SecretName(long); len(got) != 253 || got == SecretName(long[:252]) {
		t.Errorf("long name: %d characters, or two accounts share it", len(got))
	}
}

func TestCredentialIsDecodableAndSorted(t *testing.T) {
	data, err := credential("sa", "tok", []string{"b:1", "a"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"auths":{"a":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("sa:tok")) + `"},"b:1":{"auth":"` +
		base64.StdEncoding.EncodeToString([]byte("sa:tok")) + `"}}}`
	if string(data) != want || !json.Valid(data) {
		t.Errorf("got %s, want %s", data, want)
	}
}

// Behaviour 62.
func TestRefreshTime(t *testing.T) {
	for _, uid := range []string{"", "a", "b", "0d5e", "ffff-1"} {
		got := refreshTime(start, start.Add(24*time.Hour), uid)
		if share := got.Sub(start).Hours() / 24; share <= 0.5 || share > 0.6 {
			t.Errorf("UID %q: refresh at %.3f of the life", uid, share)
		}
		if again := refreshTime(start, start.Add(24*time.Hour), uid); !again.Equal(got) {
			t.Errorf("UID %q: not stable", uid)
		}
	}
}

func account(references ...string) *corev1.ServiceAccount {
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app", UID: "uid-app", ResourceVersion: "1"}}
	for _, name := range references {
		a.ImagePullSecrets = append(a.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	return a
}

// seen is a Secret as the cache shows it.
func seen(secret *corev1.Secret) *Secret {
	if secret == nil {
		return nil
	}
	return secretFrom(secret)
}

func references(account *corev1.ServiceAccount, name string) bool {
	return slices.Contains(account.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
}

// goodSecret is as the controller leaves it.
func goodSecret(t *testing.T) *corev1.Secret {
	t.Helper()
	secret := newSecret(accountFrom(account()))
	secret.UID = "uid-secret"
	secret.Annotations[expiresAnnotation] = start.Add(24 * time.Hour).Format(time.RFC3339)
	secret.Annotations[refreshAnnotation] = start.Add(12 * time.Hour).Format(time.RFC3339)
	secret.Annotations[hostsHashAnnotation] = "hash"
	secret.Annotations[keyIDAnnotation] = "k1"
	secret.Annotations[dataHashAnnotation] = sha256Hex(secret.Data[corev1.DockerConfigJsonKey])
	return secret
}

// Behaviours 60, 62, 63 and 68.
func TestDecide(t *testing.T) {
	const name = "app-registry-pull"
	refreshAt := start.Add(12 * time.Hour)
	tests := []struct {
		name   string
		mode   Mode
		refs   []string
		change func(*corev1.Secret) *corev1.Secret
		now    time.Duration
		want   Plan
	}{
		{name: "new account", mode: Full, change: func(*corev1.Secret) *corev1.Secret { return nil },
			want: Plan{Create: true, Refresh: reasonNew, Inject: true}},
		{name: "all good", mode: Full, refs: []string{name}, want: Plan{RefreshAt: refreshAt}},
		{name: "reference stripped", mode: Full, refs: []string{"other"}, want: Plan{Inject: true, RefreshAt: refreshAt}},
		{name: "token due", mode: Full, refs: []string{name}, now: 12 * time.Hour, want: Plan{Refresh: reasonExpiring, RefreshAt: refreshAt}},
		{name: "hosts changed", mode: Full, refs: []string{name},
			change: func(s *corev1.Secret) *corev1.Secret { s.Annotations[hostsHashAnnotation] = "old"; return s }, want: Plan{Refresh: reasonHosts}},
		{name: "data edited", mode: Full, refs: []string{name},
			change: func(s *corev1.Secret) *corev1.Secret {
				s.Data = map[string][]byte{corev1.DockerConfigJsonKey: []byte("{}")}
				return s
			}, want: Plan{Refresh: reasonTampered}},
		{name: "data removed", mode: Full, refs: []string{name},
			change: func(s *corev1.Secret) *corev1.Secret { s.Data = nil; return s }, want: Plan{Refresh: reasonTampered}},
		{name: "annotation removed", mode: Full, refs: []string{name},
			change: func(s *corev1.Secret) *corev1.Secret { delete(s.Annotations, refreshAnnotation); return s }, want: Plan{Refresh: reasonTampered}},
		{name: "crashed before the first token", mode: Full,
			change: func(s *corev1.Secret) *corev1.Secret {
				s.Annotations = map[string]string{accountAnnotation: "app"}
				return s
			},
			want: Plan{Refresh: reasonNew, Inject: true}},
		{name: "wrong type", mode: Full, refs: []string{name},
			change: func(s *corev1.Secret) *corev1.Secret { s.Type = corev1.SecretTypeOpaque; return s }, want: Plan{Delete: true}},
		{name: "account re-created", mode: Full,
			change: func(s *corev1.Secret) *corev1.Secret { s.OwnerReferences[0].UID = "older"; return s }, want: Plan{Delete: true}},
		{name: "refresh only, nothing there", mode: RefreshOnly, change: func(*corev1.Secret) *corev1.Secret { return nil }},
		{name: "refresh only, due", mode: RefreshOnly, now: 13 * time.Hour, want: Plan{Refresh: reasonExpiring, RefreshAt: refreshAt}},
		{name: "refresh only does not inject", mode: RefreshOnly, want: Plan{RefreshAt: refreshAt}},
		{name: "off", mode: Off},
		{name: "remove, nothing there", mode: Remove, refs: []string{"other"}, change: func(*corev1.Secret) *corev1.Secret { return nil }},
		{name: "remove, only a reference", mode: Remove, refs: []string{name}, change: func(*corev1.Secret) *corev1.Secret { return nil },
			want: Plan{Ejected: []string{name}, CheckForeign: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			secret := goodSecret(t)
			if test.change != nil {
				secret = test.change(secret)
			}
			got := Decide(Input{Mode: test.mode, Now: start.Add(test.now), Account: accountFrom(account(test.refs...)), Secret: seen(secret), HostsHash: "hash"})
			if test.want.Refresh != "" {
				got.RefreshAt, test.want.RefreshAt = time.Time{}, time.Time{}
			}
			if !samePlan(got, test.want) {
				t.Errorf("plan %+v, want %+v", got, test.want)
			}
		})
	}
}

func samePlan(a, b Plan) bool {
	return a.Delete == b.Delete && a.Create == b.Create && a.Refresh == b.Refresh && a.Inject == b.Inject &&
		slices.Equal(a.Ejected, b.Ejected) && len(a.Discard) == len(b.Discard) &&
		a.CheckForeign == b.CheckForeign && a.RefreshAt.Equal(b.RefreshAt)
}

func TestRemoveTakesReferenceSecretAndOrphans(t *testing.T) {
	secret, orphan := goodSecret(t), goodSecret(t)
	orphan.Name = "app-dockercfg-x1"
	got := Decide(Input{Mode: Remove, Now: start, Account: accountFrom(account("a", "app-registry-pull", "b", orphan.Name)), Secret: seen(secret), Orphans: []*Secret{secretFrom(orphan)}})
	if len(got.Discard) != 2 || got.CheckForeign || !slices.Equal(got.Ejected, []string{"app-registry-pull", orphan.Name}) {
		t.Errorf("plan %+v", got)
	}
	left := wantedReferences(accountFrom(account("a", "app-registry-pull", "b")), false, got.Ejected)
	if !slices.Equal(left, []string{"a", "b"}) {
		t.Errorf("references left: %v", left)
	}
}

// Behaviour 66.
func TestInjectionsAreBounded(t *testing.T) {
	var earlier []time.Time
	var written []time.Time
	for second := range 600 {
		now := start.Add(time.Duration(second) * time.Second)
		if at, _ := nextInjection(earlier, now); !at.After(now) {
			written = append(written, now)
			earlier = append(recentInjections(earlier, now), now)
		}
	}
	// Five in the first minute, then one a minute.
	if len(written) < 12 || len(written) > 15 {
		t.Errorf("%d injections in ten minutes", len(written))
	}
	if at, drifting := nextInjection(earlier, start.Add(time.Hour)); drifting || at.After(start.Add(time.Hour)) {
		t.Error("the bound is not lifted after the writer gave up")
	}
}

// A transform may run twice on one object.
func TestTransformsMayBeRepeated(t *testing.T) {
	for _, object := range []any{goodSecret(t), account("first")} {
		for _, transform := range []func(any) (any, error){keepSecret, keepAccount} {
			once, err := transform(object)
			if err != nil {
				t.Fatal(err)
			}
			if twice, err := transform(once); err != nil || twice != once {
				t.Errorf("%T became %T, error %v", once, twice, err)
			}
		}
	}
}

func TestKeyID(t *testing.T) {
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"k1"}`))
	for token, want := range map[string]string{header + ".x.y": "k1", "": "", "opaque": "", "e30.x.y": "", "!!.x": ""} {
		if got := keyID(token); got != want {
			t.Errorf("%q: key id %q, want %q", token, got, want)
		}
	}
}
