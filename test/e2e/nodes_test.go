//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// confined is what the kernel says of a process without capabilities and with a filter of system calls.
var confined = map[string]*regexp.Regexp{
	"user 0":                  regexp.MustCompile(`(?m)^Uid:\s+0\s+0\s+0\s+0$`),
	"no capability in effect": regexp.MustCompile(`(?m)^CapEff:\s+0+$`),
	"no capability permitted": regexp.MustCompile(`(?m)^CapPrm:\s+0+$`),
	"no capability to gain":   regexp.MustCompile(`(?m)^CapBnd:\s+0+$`),
	"no new privileges":       regexp.MustCompile(`(?m)^NoNewPrivs:\s+1$`),
	"filtered system calls":   regexp.MustCompile(`(?m)^Seccomp:\s+2$`),
}

// Behaviour node-ca 32: the agents do their work as root without any capability. The nodes of the development
// cluster share the processes of the machine, so the kernel can be asked about each.
func TestTheAgentsOfTheNodesRunConfined(t *testing.T) {
	all := len(nodes(t))
	eventually(t, "agents that work, confined as they are", func(ctx context.Context) error {
		daemon, err := shared.kube.AppsV1().DaemonSets(systemNamespace).Get(ctx, "node-ca", metav1.GetOptions{})
		if err == nil && int(daemon.Status.NumberReady) != all {
			err = fmt.Errorf("%d of %d agents are ready", daemon.Status.NumberReady, all)
		}
		return err
	})
	found := 0
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		words, err := os.ReadFile(line)
		if err != nil || strings.Trim(string(words), "\x00") != "/usr/bin/node-ca" {
			continue // ended meanwhile, a probe, or something else
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(line), "status"))
		if err != nil {
			continue
		}
		found++
		for what, pattern := range confined {
			if !pattern.Match(status) {
				t.Errorf("process %s has not: %s\n%s", filepath.Dir(line), what, status)
			}
		}
	}
	if found < all {
		t.Errorf("%d processes of the agent on %d nodes", found, all)
	}
}

// Behaviour operator 77: the Job of a run ends in the status of ImagePruner and of Config, with its numbers.
func TestTheLastRunOfThePrunerIsReported(t *testing.T) {
	const job = "image-pruner-reported"
	shared.shell(t, "kubectl -n image-registry-system delete job "+job+" --ignore-not-found")
	shared.shell(t, "kubectl -n image-registry-system create job "+job+" --from=cronjob/image-pruner")
	t.Cleanup(func() { shared.shell(t, "kubectl -n image-registry-system delete job "+job+" --cascade=foreground") })
	shared.shell(t, "kubectl -n image-registry-system wait --for=condition=Complete --timeout=120s job/"+job)
	ended, err := shared.kube.BatchV1().Jobs(systemNamespace).Get(t.Context(), job, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the run in both statuses", func(ctx context.Context) error {
		pruner, err := shared.image.ImageregistryV1().ImagePruners().Get(ctx, "cluster", metav1.GetOptions{})
		if err != nil {
			return err
		}
		config, err := shared.image.ImageregistryV1().Configs().Get(ctx, "cluster", metav1.GetOptions{})
		if err != nil {
			return err
		}
		run, last := pruner.Status.LastRun, config.Status.LastPrune
		if run == nil || run.Result != "Succeeded" || !run.StartTime.Equal(ended.Status.StartTime) || run.CompletionTime.Before(ended.Status.StartTime) {
			return fmt.Errorf("lastRun %+v, the Job began at %v", run, ended.Status.StartTime)
		}
		if last == nil || last.Result != run.Result || !last.CompletionTime.Equal(run.CompletionTime) {
			return fmt.Errorf("lastPrune %+v, lastRun %+v", last, run)
		}
		return nil
	})
	if out := shared.shell(t, "kubectl get imagepruners.imageregistry.operator.alauda.io cluster"); !strings.Contains(out, "Succeeded") {
		t.Errorf("kubectl get imagepruner shows no result:\n%s", out)
	}
}
