//go:build component

package imagestorage

import (
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	storagev1 "image.alauda.io/api/storage/v1"
	"image.alauda.io/registry/test/imageapi"
)

// Behaviour 61. Each kind of damage is planted in both backends, found, named, and left out of an export.
func TestVerifyFindsPlantedDamage(t *testing.T) {
	cp := shared.Get(t)
	c := newCommand(cp, "/test/verify")
	var first string
	t.Run("fill", func(t *testing.T) {
		server := imageapi.Start(t, cp)
		emptyRecords(t, cp)
		first = fill(t, server, "damage")
	})
	c.must(t, append([]string{"migrate", "--from=crd", "--to=etcd"}, c.etcd...)...)
	c.must(t, "verify")
	damaged := digestOf("damageapp2")

	for backend, plant := range map[string]struct {
		flags []string
		spoil func(t *testing.T)
		lose  func(t *testing.T)
	}{
		"crd": {
			spoil: func(t *testing.T) {
				patch := []byte(`{"spec":{"data":"AAAA"}}`)
				_, err := records(c).Patch(t.Context(), strings.Replace(damaged, ":", "-", 1), types.MergePatchType, patch, metav1.PatchOptions{})
				if err != nil {
					t.Fatal(err)
				}
			},
			lose: func(t *testing.T) {
				if err := records(c).Delete(t.Context(), strings.Replace(first, ":", "-", 1), metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			},
		},
		"etcd": {
			flags: c.etcdStorage(),
			spoil: func(t *testing.T) {
				etcd(t, c, func(client *clientv3.Client) error {
					_, err := client.Put(t.Context(), "/test/verify/image.alauda.io/images/"+damaged, "\x01no zstd")
					return err
				})
			},
			lose: func(t *testing.T) {
				etcd(t, c, func(client *clientv3.Client) error {
					answer, err := client.Delete(t.Context(), "/test/verify/image.alauda.io/images/"+first)
					if err == nil && answer.Deleted != 1 {
						t.Errorf("%d keys deleted, want 1", answer.Deleted)
					}
					return err
				})
			},
		},
	} {
		t.Run(backend, func(t *testing.T) {
			plant.lose(t)
			plant.spoil(t)
			code, output := c.run(t, append([]string{"verify"}, plant.flags...)...)
			for _, want := range []string{
				"missing image: damage/app tag v1, entry 1 names " + first, "damaged: Image ", strings.TrimPrefix(damaged, "sha256:"),
				"faults: 1 damaged, 1 missing images, 0 duplicate uids",
			} {
				if code != 1 || !strings.Contains(output, want) {
					t.Errorf("exit code %d, output %s: want 1 and %q", code, output, want)
				}
			}
			code, output = c.run(t, append([]string{"export"}, plant.flags...)...)
			if code != 1 || !strings.Contains(output, "images: 2 exported 1 damaged") || !strings.Contains(output, `"with_underscore"`) {
				t.Errorf("export: exit code %d, output %s: want the rest exported", code, output)
			}
		})
	}
}

func records(c command) dynamic.NamespaceableResourceInterface {
	return dynamic.NewForConfigOrDie(c.cp.Config).Resource(storagev1.SchemeGroupVersion.WithResource("storedimages"))
}

func etcd(t *testing.T, c command, do func(*clientv3.Client) error) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{c.cp.EtcdEndpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := do(client); err != nil {
		t.Fatal(err)
	}
}
