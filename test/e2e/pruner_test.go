//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPrunerPlansAndPrunesTagHistory(t *testing.T) {
	namespace := shared.namespace(t, "prune")
	auth := shared.pusher(t, namespace)
	old := pushRandomImage(t, namespace+"/app:v1", auth)
	current := pushRandomImage(t, namespace+"/app:v1", auth)

	prune := fmt.Sprintf("pruner images --namespace=%s --keep-tag-revisions=1 --keep-younger-than=0s", namespace)
	plan := shared.shell(t, prune+" 2>/dev/null")
	if !strings.Contains(plan, "would-delete") || !strings.Contains(plan, old.String()) || strings.Contains(plan, current.String()) {
		t.Errorf("the dry run must list %s and not %s:\n%s", old, current, plan)
	}
	revisions := func() int {
		stream, err := shared.image.ImageV1().ImageStreams(namespace).Get(t.Context(), "app", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return len(stream.Status.Tags[0].Items)
	}
	if got := revisions(); got != 2 {
		t.Fatalf("after the dry run the tag has %d revisions, want 2", got)
	}
	done := shared.shell(t, prune+" --confirm 2>/dev/null")
	if !strings.Contains(done, "deleted") || revisions() != 1 {
		t.Errorf("after the confirmed run the tag has %d revisions, want 1:\n%s", revisions(), done)
	}
	if got := pullCompletely(t, namespace+"/app:v1", auth); got != current {
		t.Errorf("the current revision is %s, want %s", got, current)
	}
	if again := shared.shell(t, prune+" 2>/dev/null"); !strings.Contains(again, "nothing to prune") {
		t.Errorf("a second run finds something:\n%s", again)
	}
	// Images younger than the reference grace are never deleted, so the old one is still there.
	if _, err := shared.image.ImageV1().Images().Get(t.Context(), old.String(), metav1.GetOptions{}); err != nil {
		t.Errorf("Image %s: %v", old, err)
	}
}

func TestTheCronJobRunsThePruner(t *testing.T) {
	cron, err := shared.kube.BatchV1().CronJobs(systemNamespace).Get(t.Context(), "image-pruner", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if cron.Spec.Suspend == nil || !*cron.Spec.Suspend {
		t.Error("the pruner must start suspended")
	}
	shared.shell(t, "kubectl -n image-registry-system delete job image-pruner-by-hand --ignore-not-found")
	shared.shell(t, "kubectl -n image-registry-system create job image-pruner-by-hand --from=cronjob/image-pruner")
	t.Cleanup(func() {
		policy := metav1.DeletePropagationForeground
		err := shared.kube.BatchV1().Jobs(systemNamespace).Delete(context.WithoutCancel(t.Context()), "image-pruner-by-hand",
			metav1.DeleteOptions{PropagationPolicy: &policy})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	eventually(t, "Job image-pruner-by-hand", func(ctx context.Context) error {
		job, err := shared.kube.BatchV1().Jobs(systemNamespace).Get(ctx, "image-pruner-by-hand", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range job.Status.Conditions {
			if c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue {
				return nil
			}
			if c.Type == batchv1.JobFailed && c.Status == corev1.ConditionTrue {
				t.Fatalf("the Job failed: %s\n%s", c.Message, shared.shell(t, "kubectl -n image-registry-system logs job/image-pruner-by-hand"))
			}
		}
		return fmt.Errorf("not finished: %+v", job.Status)
	})
	if out := shared.shell(t, "kubectl -n image-registry-system logs job/image-pruner-by-hand"); !strings.Contains(out, "Summary:") {
		t.Errorf("the run printed no summary:\n%s", out)
	}
}
