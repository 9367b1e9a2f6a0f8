//go:build component

package crd

import (
	"context"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apiserver/pkg/storage"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"

	"image.alauda.io/registry/test/controlplane"
)

// TestConformanceWithCompaction runs what compacts etcd or counts its revisions. Kube-apiserver has no
// watch cache here, which would answer for revisions that are gone, and writes no lease of its own.
//
// Behaviour 57.
func TestConformanceWithCompaction(t *testing.T) {
	cp := controlplane.Start(t, controlplane.WithAPIServerFlags("--disable-admission-plugins=NamespaceLifecycle",
		"--watch-cache=false", "--etcd-compaction-interval=0", "--feature-gates=APIServerIdentity=false,UnknownVersionInteroperabilityProxy=false"))
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{cp.EtcdEndpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	increase := func(ctx context.Context, t *testing.T) int64 {
		t.Helper()
		written, err := client.Put(ctx, "/test/increase", "")
		if err != nil {
			t.Fatal(err)
		}
		return written.Header.Revision
	}
	// Like kube-apiserver's own, a compaction costs one revision.
	compact := func(ctx context.Context, t *testing.T, resourceVersion string) {
		t.Helper()
		revision, err := storage.APIObjectVersioner{}.ParseResourceVersion(resourceVersion)
		if err != nil {
			t.Fatal(err)
		}
		increase(ctx, t)
		if _, err := client.Compact(ctx, int64(revision)); err != nil {
			t.Fatal(err)
		}
	}
	for name, run := range map[string]func(context.Context, *testing.T, *suiteStore){
		"List": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestList(ctx, t, s, compact, false, nil)
		},
		"ConsistentList": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestConsistentList(ctx, t, s, increase, false, true, false)
		},
		"ListInconsistentContinuation": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestListInconsistentContinuation(ctx, t, s, compact)
		},
		"WatchFromZero": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestWatchFromZero(ctx, t, s, compact)
		},
	} {
		t.Run(name, func(t *testing.T) { run(t.Context(), t, newPodStoreOn(t, cp, true)) })
	}
}
