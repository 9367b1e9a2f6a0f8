//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// prunerJob runs the pruner in the cluster as its CronJob does, with other arguments, and returns what it
// printed.
func prunerJob(t *testing.T, arguments ...string) string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	cron, err := shared.kube.BatchV1().CronJobs(systemNamespace).Get(ctx, "image-pruner", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Without the labels of the CronJob the status of ImagePruner is not about this Job.
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{GenerateName: "pruner-by-hand-"}, Spec: cron.Spec.JobTemplate.Spec}
	job.Spec.Template.Spec.Containers[0].Args = append(arguments, "--certificate-authority=/var/run/configmaps/serviceca/service-ca.crt")
	if job, err = shared.kube.BatchV1().Jobs(systemNamespace).Create(ctx, job, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		policy := metav1.DeletePropagationBackground
		err := shared.kube.BatchV1().Jobs(systemNamespace).Delete(ctx, job.Name, metav1.DeleteOptions{PropagationPolicy: &policy})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	logs := func() string {
		out, err := shared.tryShell(t, "kubectl -n "+systemNamespace+" logs job/"+job.Name)
		if err != nil {
			return fmt.Sprintf("%s (%v)", out, err)
		}
		return out
	}
	// A collection that removes links takes two minutes more.
	for end := time.Now().Add(2 * patience); ; {
		got, err := shared.kube.BatchV1().Jobs(systemNamespace).Get(ctx, job.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range got.Status.Conditions {
			if c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue {
				return logs()
			}
			if c.Type == batchv1.JobFailed && c.Status == corev1.ConditionTrue {
				t.Fatalf("pruner %s: %+v\n%s", strings.Join(arguments, " "), got.Status, logs())
			}
		}
		if time.Now().After(end) {
			t.Fatalf("pruner %s did not end: %+v\n%s", strings.Join(arguments, " "), got.Status, logs())
		}
		time.Sleep(time.Second)
	}
}

// Behaviour registry 86, and Behaviours pruner 5 and 38: run in the cluster with the account, the role and the
// authority of the CronJob, the documented commands free what a deleted image leaves in the storage while
// the registry serves, and what another image shares with it stays. The storage is made a day old, because
// nothing young is ever collected. The test runs beside others, whose images must not suffer.
func TestACollectionFreesWhatDeletedImagesLeave(t *testing.T) {
	t.Parallel() // a collection looks again two minutes after it has removed links
	namespace := shared.namespace(t, "collect")
	auth := shared.pusher(t, namespace)
	kept := pushRandomImage(t, namespace+"/app:kept", auth)
	gone := randomImage(t)
	if err := remote.Write(shared.reference(t, namespace+"/app:gone"), gone, shared.remoteOptions(t, auth)...); err != nil {
		t.Fatal(err)
	}
	layers, err := gone.Layers()
	if err != nil {
		t.Fatal(err)
	}
	garbage := []string{digestOf(t, gone).String()}
	for _, layer := range layers {
		garbage = append(garbage, digestOf(t, layer).String())
	}
	shared.shell(t, fmt.Sprintf("kubectl -n %s delete imagestreamtag app:gone && kubectl delete image %s", namespace, garbage[0]))
	volumes := filepath.Join(shared.root, "_output", "devcluster", "volumes")
	shared.shell(t, fmt.Sprintf("find %s -path '*/docker/registry/*' -exec touch -h -d '1 day ago' {} +", volumes))

	if status, body := request(t, http.MethodPost, "/admin/gc", shared.token(t, namespace, "builder"), nil, nil); status != http.StatusForbidden || !strings.Contains(body, "DENIED") {
		t.Errorf("somebody who may only push asks for a collection: %d %s", status, body)
	}
	plan := prunerJob(t, "gc")
	for _, digest := range garbage {
		if !strings.Contains(plan, "would-delete\tblob\t"+digest) {
			t.Errorf("the dry run does not name %s:\n%s", digest, plan)
		}
	}
	if strings.Contains(plan, kept.String()) {
		t.Errorf("the dry run names %s", kept)
	}
	var blobs int
	done := prunerJob(t, "gc", "--confirm")
	_, line, _ := strings.Cut(done, "\nDeleted ")
	if _, err := fmt.Sscanf(line, "%d blobs", &blobs); err != nil || blobs < len(garbage) {
		t.Errorf("deleted %d blobs (%v), want at least %d:\n%s", blobs, err, len(garbage), done)
	}
	if out := prunerJob(t, "images", "--confirm", "--prune-registry"); !strings.Contains(out, "Summary: ") {
		t.Errorf("the run with --prune-registry printed no summary:\n%s", out)
	}
	for _, digest := range garbage {
		hex := strings.TrimPrefix(digest, "sha256:")
		if found := shared.shell(t, fmt.Sprintf("find %s -path '*/blobs/sha256/%s/%s/data'", volumes, hex[:2], hex)); found != "" {
			t.Errorf("the storage still has %s", found)
		}
	}
	if got := pullCompletely(t, namespace+"/app:kept", auth); got != kept {
		t.Errorf("the other image is %s now, want %s", got, kept)
	}
	if err := remote.Write(shared.reference(t, namespace+"/app:again"), gone, shared.remoteOptions(t, auth)...); err != nil {
		t.Errorf("the same image cannot be pushed again: %v", err)
	}
	if got := pullCompletely(t, namespace+"/app:again", auth); got.String() != garbage[0] {
		t.Errorf("pushed again it is %s, want %s", got, garbage[0])
	}
}
