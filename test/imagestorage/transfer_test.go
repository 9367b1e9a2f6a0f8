//go:build component

package imagestorage

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	storagev1 "image.alauda.io/api/storage/v1"
	"image.alauda.io/registry/test/imageapi"
)

func tagOf(name string) *corev1.ObjectReference {
	return &corev1.ObjectReference{Kind: "ImageStreamTag", Name: name}
}

// Behaviour 61. Records go to etcd and back, through files too, and the API shows the same as before.
func TestMigrationIsLossless(t *testing.T) {
	cp := shared.Get(t)
	c := newCommand(cp, "/test/migration")
	toEtcd := append([]string{"migrate", "--from=crd", "--to=etcd"}, c.etcd...)
	toCRD := append([]string{"migrate", "--from=etcd", "--to=crd", "--storage-compression=false"}, c.etcd...)

	var before string
	t.Run("what the server stores", func(t *testing.T) {
		server := imageapi.Start(t, cp)
		fill(t, server, "lossless")
		before = served(t, server)
	})
	original := c.exported(t)
	if joined := strings.Join(original, "\n"); strings.Contains(joined, "resourceVersion") || !strings.Contains(joined, `"uid":`) || !strings.Contains(joined, `"generation":`) {
		t.Errorf("export %s: want uid and generation, and no resourceVersion", joined)
	}

	t.Run("not while a server runs", func(t *testing.T) { refusedWhileServerRuns(t, c, toEtcd) })

	c.must(t, toEtcd...)
	if got := c.exported(t, c.etcdStorage()...); !slices.Equal(got, original) {
		t.Errorf("etcd holds %s, want %s", got, original)
	}
	if output := c.must(t, append([]string{"verify"}, c.etcdStorage()...)...); !strings.Contains(output, "images: 4 sound") || !strings.Contains(output, "normal: 1 children that are not stored, 0 images") {
		t.Errorf("verify of etcd: %s", output)
	}

	emptyRecords(t, cp)
	if got := c.exported(t); len(got) != 1 || got[0] != "" {
		t.Fatalf("records are left: %s", got)
	}
	c.must(t, toCRD...)
	if got := c.exported(t); !slices.Equal(got, original) {
		t.Errorf("the records hold %s, want %s", got, original)
	}
	if got := formats(t.Context(), t, cp); got[string(storagev1.FormatJSON)] != 4 || len(got) != 1 {
		t.Errorf("formats %v, want plain JSON only", got)
	}

	t.Run("the server shows the same and writes its own format beside", func(t *testing.T) {
		server := imageapi.Start(t, cp)
		if after := served(t, server); after != before {
			t.Errorf("before %s\nafter %s", before, after)
		}
		push(t, server, "lossless", "app", "v2", "written after the migration")
		if got := formats(t.Context(), t, cp); got[string(storagev1.FormatJSON)] != 4 || got[string(storagev1.FormatJSONZstd)] != 1 {
			t.Errorf("formats %v, want 4 plain and 1 compressed", got)
		}
		c.must(t, "verify")
	})
	t.Run("a difference on the other side is reported", func(t *testing.T) {
		code, output := c.run(t, toEtcd...)
		if code != 1 || !strings.Contains(output, "ImageStream lossless/app in etcd is not what it is in crd") {
			t.Errorf("exit code %d, output %s: want the stream that differs", code, output)
		}
		c.must(t, append(toEtcd, "--overwrite")...)
		if got, want := c.exported(t, c.etcdStorage()...), c.exported(t); !slices.Equal(got, want) {
			t.Errorf("etcd holds %s, want %s", got, want)
		}
	})
}

func refusedWhileServerRuns(t *testing.T, c command, migrate []string) {
	leases := kubernetes.NewForConfigOrDie(c.cp.Config).CoordinationV1().Leases(imageapi.SystemNamespace)
	_ = leases.Delete(t.Context(), "image-api-server-controllers", metav1.DeleteOptions{}) // the server may have left one
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: "image-api-server-controllers"},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To("replica-1"), LeaseDurationSeconds: ptr.To(int32(15)), RenewTime: &metav1.MicroTime{Time: time.Now()},
		},
	}
	if _, err := leases.Create(t.Context(), lease, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, output := c.run(t, migrate...); code != 1 || !strings.Contains(output, "replica-1") || !strings.Contains(output, "Removed") {
		t.Errorf("exit code %d, output %s: want a refusal that names the holder", code, output)
	}
	if err := leases.Delete(t.Context(), lease.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Behaviour 61. An import can be repeated; what differs is kept unless it is to be replaced.
func TestImportIsIdempotent(t *testing.T) {
	cp := shared.Get(t)
	c := newCommand(cp, "/test/import")
	t.Run("fill", func(t *testing.T) { fill(t, imageapi.Start(t, cp), "idempotent") })
	lines := c.exported(t)
	write := func(content string) string {
		file := filepath.Join(t.TempDir(), "import.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return "--file=" + file
	}
	all := write(strings.Join(lines, "\n"))
	into := func(args ...string) []string { return append(append([]string{"import"}, args...), c.etcdStorage()...) }
	c.must(t, into(all)...)
	if output := c.must(t, into(all)...); !strings.Contains(output, "unchanged") || strings.Contains(output, "created") {
		t.Errorf("second import: %s, want everything unchanged", output)
	}
	index := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, `"with_underscore"`) })
	changed := write(strings.Replace(lines[index], `"tier":"web"`, `"tier":"db"`, 1))
	if output := c.must(t, into(changed)...); !strings.Contains(output, "1 kept") {
		t.Errorf("import of a changed stream: %s, want it kept", output)
	}
	if output := c.must(t, into(changed, "--overwrite")...); !strings.Contains(output, "1 replaced") {
		t.Errorf("import of a changed stream with --overwrite: %s, want it replaced", output)
	}
	if got := strings.Join(c.exported(t, c.etcdStorage()...), "\n"); !strings.Contains(got, `"tier":"db"`) {
		t.Errorf("etcd holds %s, want the changed label", got)
	}
	other := write(strings.Replace(lines[index], `"uid":"`, `"uid":"0`, 1))
	if code, output := c.run(t, into(other)...); code != 1 || !strings.Contains(output, "another object has this name") {
		t.Errorf("import of another object: exit code %d, %s", code, output)
	}
	bad := write("{\n" + strings.Join(lines, "\n") + "\n{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\"}}")
	code, output := c.run(t, into(bad)...)
	if code != 1 || !strings.Contains(output, "line 1: ") || !strings.Contains(output, "objects of v1 Secret are not stored") || !strings.Contains(output, "unchanged") {
		t.Errorf("import of bad lines: exit code %d, %s: want both named and the rest stored", code, output)
	}
}
