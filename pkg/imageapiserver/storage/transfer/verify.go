package transfer

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/storage"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Findings are what a verification found, counted.
type Findings struct {
	Summary *Summary
	// Damaged records cannot be read, MissingImages are named by the history of a stream and are not
	// stored, DuplicateUIDs are shared by several objects. Each of them is a fault.
	Damaged, MissingImages, DuplicateUIDs int
	// MissingChildren are named by a stored index only, as a push of some platforms leaves it. Unused
	// images are named by no stream and no index; pruning removes them. Both are normal.
	MissingChildren, Unused int
}

// Faulty tells whether anything is wrong.
func (f Findings) Faulty() bool { return f.Damaged+f.MissingImages+f.DuplicateUIDs > 0 }

// String is a summary of a few lines.
func (f Findings) String() string {
	return f.Summary.String() + fmt.Sprintf(
		"faults: %d damaged, %d missing images, %d duplicate uids\nnormal: %d children that are not stored, %d images that nothing names\n",
		f.Damaged, f.MissingImages, f.DuplicateUIDs, f.MissingChildren, f.Unused)
}

// Verify reads everything, decodes it as the server does, and compares streams with images. Every
// fault is reported. On a running installation an Image or stream may change between the two lists;
// what is missing then is looked up again at the end.
func Verify(ctx context.Context, store *Store, report Report) (Findings, error) {
	v := &verification{
		store: store, report: report, findings: Findings{Summary: &Summary{}},
		images: map[string]bool{}, children: map[string][]string{}, uids: map[types.UID]string{},
		wanted: map[string][]string{}, damagedImages: map[string]bool{},
	}
	for _, r := range store.resources {
		if err := r.walk(ctx, func(e entry) error { return v.entry(r, e) }); err != nil {
			return v.findings, err
		}
	}
	return v.findings, v.compare(ctx)
}

type verification struct {
	store    *Store
	report   Report
	findings Findings

	// images are the names of stored images; damaged ones are kept apart, since they are there.
	images, damagedImages map[string]bool
	// children are the names that an index lists.
	children map[string][]string
	uids     map[types.UID]string
	// wanted are the places in streams that name an image.
	wanted map[string][]string
}

func (v *verification) entry(r *resourceStore, e entry) error {
	resource := r.Resource.Resource.Resource
	if e.err != nil {
		v.report("damaged: %s %s: %v", r.kind, e.key, e.err)
		v.findings.Damaged++
		v.findings.Summary.add(resource, Damaged)
		v.damagedImages[e.key] = true
		return nil
	}
	v.findings.Summary.add(resource, Sound)
	if other, taken := v.uids[e.obj.UID]; taken {
		v.report("duplicate uid: %s %s and %s both have %s", r.kind, e.key, other, e.obj.UID)
		v.findings.DuplicateUIDs++
	}
	v.uids[e.obj.UID] = r.kind + " " + e.key
	decoded, err := r.check(e.obj.json)
	if err != nil {
		return err
	}
	switch obj := decoded.(type) {
	case *imageapi.Image:
		v.images[obj.Name] = true
		for _, child := range obj.DockerImageManifests {
			v.children[obj.Name] = append(v.children[obj.Name], child.Digest)
		}
	case *imageapi.ImageStream:
		v.stream(obj)
	}
	return nil
}

func (v *verification) stream(stream *imageapi.ImageStream) {
	for tag, events := range stream.Status.Tags {
		for i, event := range events.Items {
			if event.Image != "" {
				v.wanted[event.Image] = append(v.wanted[event.Image], fmt.Sprintf("%s/%s tag %s, entry %d", stream.Namespace, stream.Name, tag, i))
			}
		}
	}
}

// compare reports images that streams name and nobody stored.
func (v *verification) compare(ctx context.Context) error {
	named := map[string]bool{}
	for name, children := range v.children {
		for _, child := range children {
			named[child] = true
			if !v.images[child] && !v.damagedImages[child] {
				v.report("note: image %s lists the child %s, which is not stored", name, child)
				v.findings.MissingChildren++
			}
		}
	}
	var missing []string
	for image := range v.wanted {
		named[image] = true
		if !v.images[image] && !v.damagedImages[image] {
			missing = append(missing, image)
		}
	}
	for image := range v.images {
		if !named[image] {
			v.findings.Unused++
		}
	}
	slices.Sort(missing)
	for _, image := range missing {
		there, err := v.appeared(ctx, image)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		v.findings.MissingImages++
		for _, place := range v.wanted[image] {
			v.report("missing image: %s names %s, which is not stored", place, image)
		}
	}
	return nil
}

// appeared tells whether an image is stored by now: it may have been pushed after images were listed
// and before streams were.
func (v *verification) appeared(ctx context.Context, image string) (bool, error) {
	images := v.store.resources[0]
	wanted := &object{ObjectMeta: metav1.ObjectMeta{Name: image}}
	found := &object{}
	err := images.raw.Get(ctx, images.storageKey(wanted), storage.GetOptions{}, found)
	switch {
	case storage.IsNotFound(err):
		return false, nil
	case storage.IsInternalError(err): // damaged, but there
		return true, nil
	}
	return err == nil, err
}
