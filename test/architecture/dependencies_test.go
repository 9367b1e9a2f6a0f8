package architecture

import (
	"encoding/json"
	"os/exec"
	"slices"
	"testing"
)

// directDependencies are the modules that somebody decided on. A new one is added here in the commit
// that introduces it, whose message says what it saves.
var directDependencies = []string{
	"github.com/ProtonMail/go-crypto", // OpenPGP signatures of images, in pkg/pruner/signature alone; cryptography is nothing to write anew
	"github.com/distribution/distribution/v3",
	"github.com/distribution/reference",
	"github.com/fsnotify/fsnotify",
	"github.com/go-jose/go-jose/v4", // signatures of an identity provider's tokens and its keys; cryptography is nothing to write anew
	"github.com/go-logr/zapr",
	"github.com/google/go-cmp",
	"github.com/google/go-containerregistry",
	"github.com/google/uuid",
	"github.com/klauspost/compress",
	"github.com/opencontainers/go-digest",
	"github.com/opencontainers/image-spec",
	"github.com/pelletier/go-toml/v2",
	"github.com/prometheus/client_golang",
	"github.com/prometheus/client_model", // the type of gathered metrics; only those of the storage engine are passed on
	"github.com/robfig/cron/v3",
	"github.com/sirupsen/logrus",
	"github.com/spf13/cobra",
	"github.com/spf13/pflag",
	"go.etcd.io/etcd/client/v3",                        // tests compact a real etcd under the storage
	"go.opentelemetry.io/contrib/exporters/autoexport", // tracing, with the variables that everybody knows; the storage engine links all of it
	"go.opentelemetry.io/otel",
	"go.opentelemetry.io/otel/sdk",
	"go.opentelemetry.io/otel/trace",
	"go.uber.org/zap",
	"go.yaml.in/yaml/v2", // environment variables of the registry are YAML scalars in the dialect of distribution's configuration
	"golang.org/x/net",   // which hosts belong to one registrable domain, for credentials; the list of public suffixes is nothing to copy
	"golang.org/x/sync",
	"golang.org/x/sys",
	"golang.org/x/time",
	"google.golang.org/grpc", // test/runtimes alone: asks container runtimes to pull as the kubelet does
	"image.alauda.io/api",
	"image.alauda.io/client-go",
	"k8s.io/api",
	"k8s.io/apiextensions-apiserver",
	"k8s.io/apimachinery",
	"k8s.io/apiserver",
	"k8s.io/client-go",
	"k8s.io/component-base",
	"k8s.io/cri-api", // test/runtimes alone: what the kubelet says to container runtimes
	"k8s.io/klog/v2",
	"k8s.io/kube-aggregator",
	"k8s.io/kube-openapi",
	"k8s.io/utils",
	"sigs.k8s.io/randfill", // fuzzed round trips of the API types
	"sigs.k8s.io/structured-merge-diff/v6",
	"sigs.k8s.io/yaml",
}

func TestDirectDependenciesAreDecided(t *testing.T) {
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = repositoryRoot(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod edit -json: %v", err)
	}
	var module struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	for _, r := range module.Require {
		if !r.Indirect && !slices.Contains(directDependencies, r.Path) {
			t.Errorf("go.mod requires %s directly, which is not in the list of decided dependencies", r.Path)
		}
	}
}
