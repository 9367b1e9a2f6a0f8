package registryconfig

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/imagestorage"
	"image.alauda.io/registry/test/selfsigned"
)

// etcdSecret holds certificates with a life; what else they are good for does not matter here.
func etcdSecret(t *testing.T, from, to time.Time) *corev1.Secret {
	t.Helper()
	certificate, key, err := selfsigned.Lasting(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "etcd"}, Data: map[string][]byte{
		imagestorage.KeyCA: certificate, imagestorage.KeyCertificate: certificate, imagestorage.KeyPrivate: key,
	}}
}

// The certificates for the etcd end with the whole image API, so they stand in the status with all others, are warned
// of, and are named when they have ended.
func TestTheCertificatesForTheEtcdAreWatched(t *testing.T) {
	const day = 24 * time.Hour
	config := removedConfig("")
	config.Spec.ManagementState = registryv1.Managed
	config.Spec.ImageAPI.Storage = registryv1.ImageStorageSpec{Type: registryv1.ImageStorageEtcd, Etcd: &registryv1.EtcdSpec{SecretName: "etcd"}}
	for _, test := range []struct {
		name          string
		from, to      time.Duration
		faulty, warns bool
	}{
		{"long", -day, 300 * day, false, false},
		{"near its end", -100 * day, 13 * day, false, true},
		{"ended", -100 * day, -time.Second, true, false},
		{"of tomorrow", day, 100 * day, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, config)
			now := f.clock.Now()
			if err := f.Namespaced.Core().V1().Secrets().Informer().GetStore().Add(etcdSecret(t, now.Add(test.from), now.Add(test.to))); err != nil {
				t.Fatal(err)
			}
			classes := fault.Sort(f.etcdCertificateFault(config))
			if (len(classes.Permanent) == 1) != test.faulty || len(classes.Transient)+len(classes.Waiting) != 0 {
				t.Errorf("%+v, want a fault: %t", classes, test.faulty)
			}
			if slices.Contains(f.events, "ServingCertificateExpiring") != test.warns {
				t.Errorf("events %v, want a warning: %t", f.events, test.warns)
			}
			others := []registryv1.CertificateStatus{{Name: "image-registry-tls"}}
			got := f.withEtcdCertificate(config, others)
			if len(got) != 2 || got[1].Name != "etcd" || !got[1].NotAfter.Time.Equal(now.Add(test.to).Truncate(time.Second)) {
				t.Errorf("the status has %+v", got)
			}
			if got := f.withEtcdCertificate(config, []registryv1.CertificateStatus{{Name: "etcd"}}); len(got) != 1 {
				t.Errorf("a name stands in the status twice, which the API refuses: %+v", got)
			}
		})
	}
	f := newFixture(t, config)
	if f.etcdCertificateFault(config) != nil || len(f.withEtcdCertificate(config, nil)) != 0 {
		t.Error("a Secret that does not exist has certificates")
	}
}
