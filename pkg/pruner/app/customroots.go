package app

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"image.alauda.io/registry/pkg/pruner/execute"
	"image.alauda.io/registry/pkg/pruner/roots"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

// configuration reads the ConfigMap of the administrator; there need not be one. One that may not be looked
// for could name further users of images, so the run ends.
func (r *run) configuration(ctx context.Context) (*roots.Config, error) {
	if r.ConfigMap == "" {
		return &roots.Config{}, nil
	}
	namespace, name, _ := strings.Cut(r.ConfigMap, "/")
	object, err := r.kube.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil:
	case apierrors.IsNotFound(err):
		return &roots.Config{}, nil
	case apierrors.IsForbidden(err):
		return nil, failure(exitReferences, "--config-map: not allowed to see whether ConfigMap %s names further users of images: %w; give --config-map= to prune without", r.ConfigMap, err)
	default:
		return nil, retryable(exitReferences, fmt.Errorf("read ConfigMap %s: %w", r.ConfigMap, err))
	}
	text, found := object.Data[roots.ConfigKey]
	if !found {
		return nil, failure(exitUsage, "--config-map: ConfigMap %s has no key %s", r.ConfigMap, roots.ConfigKey)
	}
	config, err := roots.ParseConfig([]byte(text))
	if err != nil {
		return nil, failure(exitUsage, "--config-map: ConfigMap %s: %w", r.ConfigMap, err)
	}
	return config, nil
}

// findRoots asks the cluster which custom kinds use images.
func (r *run) findRoots(ctx context.Context, config *roots.Config) (*roots.Found, error) {
	found, err := roots.Finder{API: r.api, Config: config, Excluded: r.ExcludeRootKinds}.Find(ctx)
	if err != nil {
		return nil, retryable(exitReferences, fmt.Errorf("it could not be found out which custom kinds use images: %w", err))
	}
	for _, unused := range found.Unused {
		klog.FromContext(ctx).Info("The cluster serves no kind that --exclude-root-kind names", "kind", unused)
	}
	return found, nil
}

// customRoots are the custom kinds to be read. A group that does not say which kinds it has may hold users
// of images.
func (r *run) customRoots(ctx context.Context, config *roots.Config) ([]roots.Kind, error) {
	found, err := r.findRoots(ctx, config)
	if err != nil {
		return nil, err
	}
	if len(found.Unknown) > 0 {
		return nil, retryable(exitReferences, unknownKinds(found.Unknown))
	}
	return found.Kinds, nil
}

func unknownKinds(unknown map[schema.GroupVersion]error) error {
	var reasons, leaveOut []string
	for gv, err := range unknown {
		reasons = append(reasons, fmt.Sprintf("%s: %v", gv, err))
		leaveOut = append(leaveOut, "--exclude-root-kind="+gv.Group)
	}
	slices.Sort(reasons)
	slices.Sort(leaveOut)
	return fmt.Errorf("API groups do not say which kinds they have, so it is not known whether one uses images: %s. Repair them (kubectl get apiservices), or leave them out with %s, in ImagePruner with spec.excludedRootKinds",
		strings.Join(reasons, "; "), strings.Join(slices.Compact(leaveOut), " "))
}

// watch follows who begins to use images while a confirmed run goes on. The returned function ends that.
func (r *run) watch(ctx context.Context, source snapshot.Source, snap *snapshot.Snapshot, executor *execute.Executor) (*snapshot.Watches, func()) {
	if !r.Confirm {
		return nil, func() {}
	}
	watches := source.Watch(ctx, snap)
	executor.Current = watches.Current
	return watches, watches.Stop
}

// reportSkipped warns of kinds that may use images, are not required and could not be listed.
func (r *run) reportSkipped(ctx context.Context, snap *snapshot.Snapshot) {
	for _, skipped := range snap.Skipped {
		klog.FromContext(ctx).Info("Images that only objects of this kind use are not protected, because the kind could not be listed",
			"kind", skipped.Kind, "reason", skipped.Err.Error())
	}
}
