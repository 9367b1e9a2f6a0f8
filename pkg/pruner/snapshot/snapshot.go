package snapshot

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/roots"
)

// parallelRoots bounds how many kinds are listed at a time.
const parallelRoots = 4

// Source is where a snapshot comes from.
type Source struct {
	Kube  kubernetes.Interface
	Image imageclient.Interface
	// ImageLists is the client of the Image API's group, by which Images are read in a shorter form; nil reads
	// them whole, with Image.
	ImageLists rest.Interface
	// Watching is like Kube, without a timeout; nil means Kube.
	Watching kubernetes.Interface
	// Custom are the kinds beside the built-in ones that use images, and Objects reads them.
	Custom  []roots.Kind
	Objects Objects
	// Dates saw the answers of the API server; without an answer the clock counts.
	Dates *Dates
	Clock clock.Clock
	// Warnings heard the Image API; nil means that nobody listened.
	Warnings *Warnings
	// ChunkSize is the page size of lists.
	ChunkSize int64
	// KeepYoungerThan and IgnoreInactiveReplicaSets decide which finished workloads still count.
	KeepYoungerThan           time.Duration
	IgnoreInactiveReplicaSets bool
	// OverSize also reads the limits of image sizes.
	OverSize bool
	// Hosts are the names of the registry that count in references; nil means all names. The repositories
	// of the streams are added to it.
	Hosts *references.Hosts
	// Names are those of the registry by which references in the middle of a text are found; the
	// repositories of the streams are added to it. Nil means that there is nothing to be found.
	Names *references.Hosts
	// Origins makes Snapshot.Uses remember every place that refers to an image, which costs memory.
	Origins bool
	// SeeImage, if given, is shown every Image as it is read, for reports that need more of it than a plan;
	// nil means that the list begins again.
	SeeImage func(*imagev1.Image)
	// Progress, if given, is told after each page how many objects of a kind were read. Several kinds are
	// read at a time.
	Progress func(kind string, read int)
}

// Snapshot is what a prune is decided on.
type Snapshot struct {
	// Time is the start of the run in the time of the API server.
	Time time.Time
	// Skew is how far the local clock is ahead of it.
	Skew time.Duration
	// LocalTime: the API server did not say what time it is, so Time is the local one.
	LocalTime bool
	Streams   []Stream
	Images    map[string]Image
	// Limits are the greatest sizes in bytes that namespaces allow for an image; only in over-size mode.
	Limits map[string]int64
	// Roots counts the objects of each kind.
	Roots map[string]int
	// Skipped are kinds that may use images, could not be listed and are not required.
	Skipped []Unlisted
	// Uses are the references of all roots and streams.
	Uses *references.Index

	ages  references.Ages
	feeds []*feed
}

// Names are the digests under which users may know an image, also one of which there is no Image here.
func (s *Snapshot) Names(digest string) []string {
	config := s.Images[digest].Config
	if config == "" || config == digest {
		return []string{digest}
	}
	return []string{digest, config}
}

// AnyUser returns who uses an image, in whatever stream, and under which of its names.
func (s *Snapshot) AnyUser(digest string) (user references.Source, name string, used bool) {
	for _, name := range s.Names(digest) {
		if user, used := s.Uses.AnyDigestUser(name); used {
			return user, name, true
		}
	}
	return references.Source{}, "", false
}

// Take reads everything.
func (s Source) Take(ctx context.Context) (*Snapshot, error) {
	snap := &Snapshot{Images: map[string]Image{}, Roots: map[string]int{}}
	pages := pager{clock: s.Clock, chunkSize: s.ChunkSize, progress: s.Progress}

	s.Warnings.forget()
	s.Dates.forget()
	streams := map[string]Stream{}
	var declared []*imagev1.ImageStream
	err := pages.each(ctx, "imagestreams", of(s.Image.ImageV1().ImageStreams(metav1.NamespaceAll).List),
		func() { clear(streams); declared = nil },
		func(object runtime.Object) error {
			stream, ok := object.(*imagev1.ImageStream)
			if !ok {
				return fmt.Errorf("unexpected %T", object)
			}
			projected := StreamOf(stream)
			streams[projected.Key()] = projected
			for _, hosts := range []*references.Hosts{s.Hosts, s.Names} {
				hosts.AddRepository(stream.Status.DockerImageRepository)
				hosts.AddRepository(stream.Status.PublicDockerImageRepository)
			}
			if len(stream.Spec.Tags) > 0 {
				declared = append(declared, sourcesOf(stream))
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	now := s.Clock.Now()
	snap.Time = s.Dates.first(now)
	snap.Skew, snap.LocalTime = now.Sub(snap.Time), s.Dates.missing()
	snap.ages = references.Ages{Cutoff: snap.Time.Add(-s.KeepYoungerThan), IgnoreInactiveReplicaSets: s.IgnoreInactiveReplicaSets}
	for _, stream := range streams {
		snap.Streams = append(snap.Streams, stream)
	}
	slices.SortFunc(snap.Streams, func(a, b Stream) int { return strings.Compare(a.Key(), b.Key()) })

	if err := s.readImages(ctx, pages, snap); err != nil {
		return nil, err
	}
	if err := s.Warnings.check(); err != nil {
		return nil, err
	}
	if s.OverSize {
		if snap.Limits, err = s.limits(ctx, pages); err != nil {
			return nil, err
		}
	}
	snap.Uses = references.NewIndex(newKnown(streams))
	snap.Uses.LimitTo(s.Hosts)
	snap.Uses.NameRegistry(s.Names)
	if s.Origins {
		snap.Uses.RememberOrigins()
	}
	for _, stream := range declared {
		snap.Uses.AddStream(stream)
	}
	return snap, s.ReadRoots(ctx, snap)
}

// readImages reads Images whole only for who wants to see them.
func (s Source) readImages(ctx context.Context, pages pager, snap *Snapshot) error {
	keep := func(image Image) { snap.Images[image.Digest] = image }
	if s.ImageLists != nil && s.SeeImage == nil {
		_, _, err := pages.whole(ctx, "images", records(s.ImageLists, keep), func() { clear(snap.Images) })
		return err
	}
	return eachImage(ctx, pages, s.Image, func() { clear(snap.Images); s.seeImage(nil) }, func(image *imagev1.Image) {
		keep(ImageOf(image))
		s.seeImage(image)
	})
}

func (s Source) seeImage(image *imagev1.Image) {
	if s.SeeImage != nil {
		s.SeeImage(image)
	}
}

// watching is the client for requests that do not end by themselves.
func (s Source) watching() kubernetes.Interface {
	if s.Watching != nil {
		return s.Watching
	}
	return s.Kube
}

// sourcesOf keeps what a stream's wanted tags come from, and nothing else of the object.
func sourcesOf(stream *imagev1.ImageStream) *imagev1.ImageStream {
	return &imagev1.ImageStream{
		ObjectMeta: metav1.ObjectMeta{Namespace: stream.Namespace, Name: stream.Name},
		Spec:       imagev1.ImageStreamSpec{Tags: stream.Spec.Tags},
	}
}

// known answers the reference index.
type known struct {
	streams    map[string]Stream
	namespaces map[string]bool
}

func newKnown(streams map[string]Stream) known {
	k := known{streams, map[string]bool{}}
	for _, stream := range streams {
		k.namespaces[stream.Namespace] = true
	}
	return k
}

// Has implements references.Known.
func (k known) Has(stream references.Stream) (exists, local bool) {
	found, exists := k.streams[stream.String()]
	return exists, found.LocalLookup
}

// HasNamespace implements references.Known.
func (k known) HasNamespace(name string) bool { return k.namespaces[name] }

// Digests implements references.Known.
func (k known) Digests(stream references.Stream) []string {
	var digests []string
	for _, tag := range k.streams[stream.String()].Tags {
		for _, revision := range tag.Revisions {
			digests = append(digests, revision.Digest)
		}
	}
	return digests
}

// Dates remembers the time of the API server's first answer since it was told to forget.
type Dates struct {
	mu sync.Mutex
	at time.Time
}

// Wrap puts d between a client and its connections.
func (d *Dates) Wrap(next http.RoundTripper) http.RoundTripper {
	return dateReader(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		if err == nil {
			d.saw(response.Header.Get("Date"))
		}
		return response, err
	})
}

type dateReader func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (r dateReader) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

func (d *Dates) saw(header string) {
	at, err := http.ParseTime(header)
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at.IsZero() {
		d.at = at
	}
}

// first returns the time of the first answer since the last forget, or the local one if there was none.
func (d *Dates) first(local time.Time) time.Time {
	if d == nil {
		return local
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at.IsZero() {
		return local
	}
	return d.at
}

// missing tells that no answer since the last forget said what time it is, although it was listened for.
func (d *Dates) missing() bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at.IsZero()
}

// forget begins anew: each attempt of a run has its own start, and it is that of its first list.
func (d *Dates) forget() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = time.Time{}
}
