package imagestorage

import (
	"errors"
	"strings"
	"testing"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/test/selfsigned"
)

func secret(t testing.TB) map[string][]byte {
	t.Helper()
	certificate, key, err := selfsigned.Issue(1)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{KeyCA: certificate, KeyCertificate: certificate, KeyPrivate: key}
}

func etcdAt(endpoints ...string) registryv1.ImageStorageSpec {
	return registryv1.ImageStorageSpec{Type: registryv1.ImageStorageEtcd, Etcd: &registryv1.EtcdSpec{Endpoints: endpoints, SecretName: "etcd"}}
}

func holds(records Records, err error) func() (Records, error) {
	return func() (Records, error) { return records, err }
}

var crd = registryv1.ImageStorageSpec{Type: registryv1.ImageStorageCRD}

// The metadata changes its place only when somebody says so, or when there is nothing to lose.
func TestThePlaceChangesOnlyOnRequest(t *testing.T) {
	const a, b = "Etcd/https://a:2379" + DefaultPrefix, "Etcd/https://b:2379" + DefaultPrefix
	keys := secret(t)
	empty, some, unknown := holds(Records{Known: true}, nil), holds(Records{Known: true, Count: 1}, nil), holds(Records{}, nil)
	for _, test := range []struct {
		name, inUse, allowed string
		spec                 registryv1.ImageStorageSpec
		records              func() (Records, error)
		place, reason        string
		transient            bool
	}{
		{name: "a new cluster", spec: crd, place: "CRD"},
		{name: "no type", spec: registryv1.ImageStorageSpec{}, place: "CRD"},
		{name: "as it is", inUse: "CRD", spec: crd, place: "CRD"},
		{name: "a new cluster with etcd", spec: etcdAt("https://a:2379"), records: empty, place: a},
		{name: "nothing to lose", inUse: "CRD", spec: etcdAt("https://a:2379"), records: empty, place: a},
		{name: "records would be left behind", inUse: "CRD", spec: etcdAt("https://a:2379"), records: some, place: "CRD", reason: registryv1.ReasonImageAPIStorageChange},
		{name: "records nobody counted", inUse: "CRD", spec: etcdAt("https://a:2379"), records: unknown, place: "CRD", reason: registryv1.ReasonImageAPIStorageChange},
		{name: "records of a Config that was deleted", spec: etcdAt("https://a:2379"), records: some, place: "CRD", reason: registryv1.ReasonImageAPIStorageChange},
		{name: "records that cannot be counted", inUse: "CRD", spec: etcdAt("https://a:2379"), records: holds(Records{}, errors.New("busy")), transient: true},
		{name: "allowed", inUse: "CRD", allowed: "Etcd", spec: etcdAt("https://a:2379"), place: a},
		{name: "something else is allowed", inUse: "CRD", allowed: "CRD", spec: etcdAt("https://a:2379"), records: some, place: "CRD", reason: registryv1.ReasonImageAPIStorageChange},
		{name: "another etcd", inUse: a, spec: etcdAt("https://b:2379"), reason: registryv1.ReasonImageAPIStorageChange},
		{name: "another etcd, allowed", inUse: a, allowed: "Etcd", spec: etcdAt("https://b:2379"), place: b},
		{name: "the members in another order", inUse: a, spec: etcdAt("https://b:2379", "https://A:2379/"), place: a},
		{name: "back to the cluster", inUse: a, spec: crd, reason: registryv1.ReasonImageAPIStorageChange},
		{name: "back to the cluster, allowed", inUse: a, allowed: "CRD", spec: crd, place: "CRD"},
		{name: "not sound", inUse: "CRD", spec: etcdAt(), place: "CRD", reason: registryv1.ReasonImageAPIStorageNotConfigured},
		{name: "not sound any more", inUse: a, spec: etcdAt(), reason: registryv1.ReasonImageAPIStorageNotConfigured},
		{name: "not sound from the start", spec: etcdAt(), reason: registryv1.ReasonImageAPIStorageNotConfigured},
	} {
		t.Run(test.name, func(t *testing.T) {
			records := test.records
			if records == nil {
				records = func() (Records, error) { t.Error("the records are counted without need"); return Records{}, nil }
			}
			plan, err := Decide(Facts{Spec: test.spec, Allowed: test.allowed, InUse: test.inUse, Secret: keys, Namespace: "ns", Records: records})
			var permanent *fault.Permanent
			reason := ""
			if errors.As(err, &permanent) {
				reason = permanent.Reason
			}
			if plan.Place != test.place || reason != test.reason || (err != nil && permanent == nil) != test.transient {
				t.Errorf("place %q, error %v; want place %q, reason %q", plan.Place, err, test.place, test.reason)
			}
			if plan.CRD() == (plan.Etcd != nil) && plan.Known() {
				t.Errorf("%+v is neither nor", plan)
			}
		})
	}
}

func TestAnEtcdIsCheckedBeforeAServerIsStartedWithIt(t *testing.T) {
	keys := secret(t)
	without := func(key string) map[string][]byte {
		out := map[string][]byte{}
		for name, value := range keys {
			if name != key {
				out[name] = value
			}
		}
		return out
	}
	with := func(key, value string) map[string][]byte {
		out := without(key)
		out[key] = []byte(value)
		return out
	}
	prefix := func(prefix string) registryv1.ImageStorageSpec {
		spec := etcdAt("https://a:2379")
		spec.Etcd.Prefix = prefix
		return spec
	}
	unnamed := etcdAt("https://a:2379")
	unnamed.Etcd.SecretName = ""
	for _, test := range []struct {
		name   string
		spec   registryv1.ImageStorageSpec
		secret map[string][]byte
		says   string
	}{
		{"unknown type", registryv1.ImageStorageSpec{Type: "Files"}, keys, "storage.type"},
		{"no etcd", registryv1.ImageStorageSpec{Type: registryv1.ImageStorageEtcd}, keys, "etcd.endpoints"},
		{"no TLS", etcdAt("http://a:2379"), keys, "https"},
		{"no URL", etcdAt("a:2379"), keys, "no URL"},
		{"two in one", etcdAt("https://a:2379,https://b:2379"), keys, "etcd.endpoints"},
		{"a password", etcdAt("https://u:hidden@a:2379"), keys, "etcd.endpoints"},
		{"a port that there is not", etcdAt("https://a:65536"), keys, "etcd.endpoints of Config cluster holds a port"},
		{"port zero", etcdAt("https://a:0"), keys, "etcd.endpoints"},
		{"a port left out", etcdAt("https://a:"), keys, "etcd.endpoints"},
		{"a path", etcdAt("https://a:2379/v3"), keys, "etcd.endpoints"},
		{"a variable of the Pod", etcdAt("https://a$(HIDDEN):2379"), keys, "etcd.endpoints"},
		{"a metadata service", etcdAt("https://169.254.169.254"), keys, "etcd.endpoints"},
		{"too many", etcdAt(strings.Split(strings.Repeat("https://a,", maxEndpoints)+"https://b", ",")...), keys, "more than"},
		{"the prefix of a cluster", prefix("/registry/"), keys, "etcd.prefix"},
		{"a prefix upwards", prefix("/a/../b"), keys, "etcd.prefix"},
		{"a prefix with a blank", prefix("/a b"), keys, "etcd.prefix"},
		{"no Secret named", unnamed, keys, "etcd.secretName"},
		{"no Secret", etcdAt("https://a:2379"), nil, "does not exist"},
		{"no CA", etcdAt("https://a:2379"), without(KeyCA), "lacks key ca.crt"},
		{"no key", etcdAt("https://a:2379"), without(KeyPrivate), "lacks key tls.key"},
		{"a damaged CA", etcdAt("https://a:2379"), with(KeyCA, "hidden"), "ca.crt"},
		{"another key", etcdAt("https://a:2379"), with(KeyPrivate, string(secret(t)[KeyPrivate])), "no pair"},
		{"a damaged key", etcdAt("https://a:2379"), with(KeyPrivate, "hidden"), "no pair"},
	} {
		t.Run(test.name, func(t *testing.T) {
			plan, err := Decide(Facts{Spec: test.spec, Secret: test.secret, Namespace: "ns", Records: holds(Records{Known: true}, nil)})
			var permanent *fault.Permanent
			if !errors.As(err, &permanent) || permanent.Reason != registryv1.ReasonImageAPIStorageNotConfigured || plan.Known() {
				t.Fatalf("plan %+v, error %v", plan, err)
			}
			if !strings.Contains(permanent.Message, test.says) || strings.Contains(permanent.Message, "hidden") || strings.Contains(permanent.Message, "HIDDEN") {
				t.Errorf("message %q, want %q in it", permanent.Message, test.says)
			}
		})
	}
	spec := prefix("/images/of/mine/")
	spec.Etcd.Endpoints = []string{"https://etcd-0.etcd.db.svc:2379", "https://[fd00::1]:2379"}
	plan, err := Decide(Facts{Spec: spec, Secret: keys, Namespace: "ns", Records: holds(Records{Known: true}, nil)})
	if err != nil || plan.Place != "Etcd/https://etcd-0.etcd.db.svc:2379/images/of/mine" || strings.Join(plan.Etcd.Hosts(), " ") != "etcd-0.etcd.db.svc fd00::1" {
		t.Errorf("plan %+v, error %v", plan, err)
	}
}

func FuzzServerOf(f *testing.F) {
	for _, seed := range []string{"https://a:2379", "https://[::1]:1", "http://x", "https://a,b", "https://a\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, endpoint string) {
		server, err := serverOf(endpoint)
		if err == nil && (strings.ContainsAny(server, ",$ \n\r\t\"'@?#") || !strings.HasPrefix(server, "https://")) {
			t.Errorf("%q became %q", endpoint, server)
		}
	})
}
