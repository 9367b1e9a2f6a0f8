package model

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/pruner/app"
	"image.alauda.io/registry/test/bench/pruner/fakeapi"
	"image.alauda.io/registry/test/bench/pruner/generate"
)

var (
	clusters = flag.Int("model.clusters", 50, "clusters to compare, each with a few sets of flags")
	first    = flag.Uint64("model.seed", 1, "seed of the first cluster; the next ones count up")
)

// The log of thousands of runs is nothing to read.
func TestMain(m *testing.M) {
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null
	}
	os.Exit(m.Run())
}

// wishesPerCluster: each cluster is looked at with so many sets of flags.
const wishesPerCluster = 4

func randomWishes(random *rand.Rand) Wishes {
	one := func(of int) bool { return random.IntN(of) == 0 }
	w := Wishes{
		KeepTagRevisions:          random.IntN(6),
		KeepYoungerThan:           []time.Duration{0, time.Minute, time.Hour, time.Hour, 72 * time.Hour}[random.IntN(5)],
		All:                       !one(4),
		IgnoreInvalid:             !one(6),
		IgnoreInactiveReplicaSets: one(4),
		KnownHosts:                one(4),
		OverSize:                  one(5),
	}
	if one(6) {
		w.Whitelist = []string{"^cpaas-system/.*", "app", "^team-a/web$"}[random.IntN(3)]
	}
	if one(6) {
		w.Namespace = "team-a"
	}
	if w.KnownHosts && one(2) {
		w.RegistryHosts = []string{"mirror:5000", "registry.example.test:443"}
	}
	if w.OverSize {
		w.KeepTagRevisions, w.KeepYoungerThan = 3, time.Hour // the defaults; they say only which Pods are young
	}
	return w
}

func (w Wishes) flags() []string {
	flags := []string{
		fmt.Sprint("--all=", w.All), fmt.Sprint("--ignore-invalid-refs=", w.IgnoreInvalid),
		fmt.Sprint("--ignore-inactive-replicasets=", w.IgnoreInactiveReplicaSets), "--namespace=" + w.Namespace,
	}
	if w.OverSize {
		flags = append(flags, "--prune-over-size-limit")
	} else {
		flags = append(flags, fmt.Sprint("--keep-tag-revisions=", w.KeepTagRevisions), fmt.Sprint("--keep-younger-than=", w.KeepYoungerThan))
	}
	if w.Whitelist != "" {
		flags = append(flags, "--whitelist="+w.Whitelist)
	}
	if w.KnownHosts {
		flags = append(flags, "--match-hosts=known")
	}
	for _, host := range w.RegistryHosts {
		flags = append(flags, "--registry-host="+host)
	}
	return flags
}

// Behaviours 6, 7, 24, 26, 36, 37 and 45: on generated clusters the program plans what the model allows, a
// confirmed run does what was planned, and a second one finds nothing.
func TestTheProgramAgreesWithTheModel(t *testing.T) {
	var revisions, images, refused int
	for i := range *clusters {
		seed := *first + uint64(i)
		random := rand.New(rand.NewPCG(seed, 2))
		cluster := generate.Small(seed)
		for range wishesPerCluster {
			wishes := randomWishes(random)
			difference := compare(t, cluster, wishes)
			if difference != "" {
				smallest := shrink(cluster, func(smaller *generate.Cluster) bool { return compare(t, smaller, wishes) != "" })
				t.Fatalf("-model.seed=%d %s\n%s\nThe smallest cluster that shows a difference: %s\n%s",
					seed, strings.Join(wishes.flags(), " "), difference, compare(t, smallest, wishes), render(smallest))
			}
			verdict := Decide(cluster, wishes)
			revisions, images = revisions+len(verdict.Revisions), images+len(verdict.Images)
			if verdict.Refused {
				refused++
			}
		}
	}
	t.Logf("%d clusters, %d sets of flags: %d revisions and %d images could go, %d runs were refused", *clusters, *clusters*wishesPerCluster, revisions, images, refused)
	if *clusters >= 50 && (revisions < 10**clusters || images < 5**clusters || refused == 0) {
		t.Errorf("too little was there to be pruned for the comparison to say anything")
	}
}

// compare plans, carries out and plans again, and returns what is wrong.
func compare(t *testing.T, cluster *generate.Cluster, wishes Wishes) string {
	t.Helper()
	want := Decide(cluster, wishes)
	api := fakeapi.New(cluster)
	server := httptest.NewServer(api)
	defer server.Close()
	planned, code, stderr := run(t, server.URL, wishes)
	if want.Refused {
		if code != 3 {
			return fmt.Sprintf("a run with invalid references ended with %d, want 3: %s", code, stderr)
		}
		return ""
	}
	if code != 0 {
		return fmt.Sprintf("the plan ended with %d: %s", code, stderr)
	}
	if difference := cmp.Diff(want, planned); difference != "" {
		return "the plan differs from the model (-model +plan):\n" + difference
	}
	done, code, stderr := run(t, server.URL, wishes, "--confirm")
	if code != 0 {
		return fmt.Sprintf("the run ended with %d: %s", code, stderr)
	}
	if difference := cmp.Diff(planned, done); difference != "" {
		return "the run differs from the plan (-plan +run):\n" + difference
	}
	if difference := cmp.Diff(after(cluster, want), state(api)); difference != "" {
		return "what is left differs from the model (-model +cluster):\n" + difference
	}
	again, code, stderr := run(t, server.URL, wishes)
	if code != 0 || len(again.Revisions)+len(again.Images) > 0 {
		return fmt.Sprintf("a second run ended with %d and would delete %v: %s", code, again, stderr)
	}
	return ""
}

// run executes the program and reads what it deletes, or would.
func run(t *testing.T, url string, wishes Wishes, more ...string) (verdict Verdict, code int, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	args := append([]string{"images", "--server=" + url, "--kubeconfig=" + os.DevNull, "--output=json", "--qps=100000", "--burst=100000"}, append(wishes.flags(), more...)...)
	code = app.Run(t.Context(), args, &out, &problems)
	if code != 0 {
		return verdict, code, problems.String()
	}
	var report struct {
		Items []struct {
			Action, Kind, Namespace, Name, Tag, Digest string
			Revision                                   int
		}
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("no report: %v: %s", err, out.String())
	}
	for _, item := range report.Items {
		switch {
		case item.Action != "deleted" && item.Action != "would-delete":
			verdict.Images = append(verdict.Images, item.Action+" "+item.Kind+" "+item.Digest)
		case item.Kind == "image":
			verdict.Images = append(verdict.Images, item.Digest)
		case item.Kind == "tag-revision":
			verdict.Revisions = append(verdict.Revisions, fmt.Sprintf("%s/%s:%s[%d]@%s", item.Namespace, item.Name, item.Tag, item.Revision, item.Digest))
		}
	}
	slices.Sort(verdict.Revisions)
	slices.Sort(verdict.Images)
	return verdict, code, problems.String()
}

// left is what streams and images are there, and which revisions the tags have.
type left map[string][]string

// after takes the verdict away from the cluster.
func after(cluster *generate.Cluster, verdict Verdict) left {
	l := left{}
	for _, stream := range all[*imagev1.ImageStream](cluster, generate.ImageStreams) {
		key := stream.Namespace + "/" + stream.Name
		declared := map[string]bool{}
		for _, tag := range stream.Spec.Tags {
			declared[tag.Name] = true
		}
		l[key] = []string{}
		for _, tag := range stream.Status.Tags {
			kept := []string{}
			for i, item := range tag.Items {
				if !slices.Contains(verdict.Revisions, fmt.Sprintf("%s:%s[%d]@%s", key, tag.Tag, i, item.Image)) {
					kept = append(kept, item.Image)
				}
			}
			if len(kept) > 0 || len(tag.Items) == 0 || len(tag.Conditions) > 0 || declared[tag.Tag] {
				l[key] = append(l[key], tag.Tag)
				l[key+":"+tag.Tag] = kept
			}
		}
	}
	for _, image := range all[*imagev1.Image](cluster, generate.Images) {
		if !slices.Contains(verdict.Images, image.Name) {
			l["images"] = append(l["images"], image.Name)
		}
	}
	return l
}

// state is what the server holds.
func state(api *fakeapi.Server) left {
	now := &generate.Cluster{Lists: map[generate.Resource]generate.Objects{}}
	for _, resource := range generate.Resources {
		now.Lists[resource] = generate.Slice(api.Objects(resource))
	}
	return after(now, Verdict{})
}

// shrink takes objects away as long as the cluster still shows the difference.
func shrink(cluster *generate.Cluster, fails func(*generate.Cluster) bool) *generate.Cluster {
	for smaller := true; smaller; {
		smaller = false
		for _, resource := range generate.Resources {
			for i := 0; i < cluster.Lists[resource].Len(); {
				candidate := without(cluster, resource, i)
				if fails(candidate) {
					cluster, smaller = candidate, true
				} else {
					i++
				}
			}
		}
	}
	return cluster
}

func without(cluster *generate.Cluster, resource generate.Resource, i int) *generate.Cluster {
	smaller := &generate.Cluster{Now: cluster.Now, Lists: map[generate.Resource]generate.Objects{}}
	for key, list := range cluster.Lists {
		smaller.Lists[key] = list
	}
	smaller.Lists[resource] = slices.Delete(slices.Clone(cluster.Lists[resource].(generate.Slice)), i, i+1)
	return smaller
}

func render(cluster *generate.Cluster) string {
	var text strings.Builder
	fmt.Fprintf(&text, "now: %s\n", cluster.Now)
	for _, resource := range generate.Resources {
		list := cluster.Lists[resource]
		for i := range list.Len() {
			text.WriteString(yamlOf(list.At(i)))
		}
	}
	return text.String()
}

func yamlOf(object runtime.Object) string {
	raw, err := yaml.Marshal(object)
	if err != nil {
		return err.Error() + "\n"
	}
	return fmt.Sprintf("--- %T\n%s", object, raw)
}

// The model is a second opinion only while it shares no code with the pruner.
func TestTheModelIsIndependent(t *testing.T) {
	for _, directory := range []string{".", "../../bench/pruner/generate"} {
		files, err := filepath.Glob(filepath.Join(directory, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", directory, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(file, "_test.go") && strings.Contains(string(text), "registry/pkg/") {
				t.Errorf("%s imports code of the product", file)
			}
		}
	}
}
