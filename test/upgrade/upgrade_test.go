//go:build upgrade

// Package upgrade runs the release before this one on the development cluster, built from the history of the
// repository, and goes on to this version while images are pushed and pulled.
//
// It runs on request (make test-upgrade): it needs the history, which not every checkout has, and builds five
// programs twice. The test of an upgrade in test/e2e needs neither and runs with all others.
package upgrade

import (
	"flag"
	"os"
	"testing"
	"time"

	"image.alauda.io/registry/test/installed"
)

var (
	previous = flag.String("previous", "8139e55", "commit of the release before this one")
	mixed    = flag.Duration("mixed", 30*time.Second, "how long versions are mixed, each way")
)

// previousRelease unpacks the sources of the release and brings its images onto the nodes.
func previousRelease(t *testing.T, cluster *installed.Cluster) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "previous-release-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cluster.Shell(t, "git archive "+*previous+" | tar -x -C "+dir)
	cluster.Build(t, dir, "previous")
	return dir
}

// Behaviour operator 87: two replicas on a shared storage go from the release before this one, with its
// own manifests and programs, to this one, and no push and no pull fails.
func TestUpgradeFromThePreviousRelease(t *testing.T) {
	cluster := installed.Connect(t)
	cluster.Healthy(t)
	checkout := previousRelease(t, cluster)
	project := cluster.Project(t, "from-previous")
	cluster.ShareStorage(t)
	cluster.Patch(t, `{"spec":{"replicas":2}}`)
	cluster.Healthy(t)
	current := func() {
		cluster.Shell(t, "kubectl apply -k "+installed.Overlay(t, cluster.Root, "dev"))
		cluster.Runs(t, installed.Operands("dev"))
		cluster.Healthy(t)
	}
	t.Cleanup(current)

	cluster.Shell(t, "kubectl apply -k "+installed.Overlay(t, checkout, "previous"))
	cluster.Runs(t, installed.Operands("previous"))
	cluster.Healthy(t)
	load := cluster.StartLoad(t, project)
	current()
	load.Stop(t)
}

// Behaviour operator 87: the registry of one version works with the Image API server of the other, both ways.
func TestMixedVersionsUnderLoad(t *testing.T) {
	cluster := installed.Connect(t)
	cluster.Healthy(t)
	previousRelease(t, cluster)
	project := cluster.Project(t, "mixed-versions")
	t.Cleanup(func() {
		cluster.Patch(t, `{"spec":{"managementState":"Managed"}}`)
		cluster.Runs(t, installed.Operands("dev"))
		cluster.Healthy(t)
	})
	cluster.Patch(t, `{"spec":{"managementState":"Unmanaged"}}`) // the operator would put the images back
	for _, versions := range []struct{ registry, api string }{{"previous", "dev"}, {"dev", "previous"}} {
		t.Run("registry "+versions.registry+" with Image API "+versions.api, func(t *testing.T) {
			images := map[string]string{
				"deployment/image-registry":   installed.Image("image-registry", versions.registry),
				"deployment/image-api-server": installed.Image("image-api-server", versions.api),
			}
			for workload, image := range images {
				cluster.Shell(t, "kubectl -n "+installed.Namespace+" set image "+workload+" '*="+image+"'")
			}
			cluster.Runs(t, images)
			load := cluster.StartLoad(t, project)
			time.Sleep(*mixed) // not a wait for anything: the load is to last this long
			load.Stop(t)
		})
	}
}
