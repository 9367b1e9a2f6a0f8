package generate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Resource names a list of objects as the paths of the API do.
type Resource struct {
	Group, Version, Name string
}

// The resources that a cluster can hold.
var (
	Images       = Resource{"image.alauda.io", "v1", "images"}
	ImageStreams = Resource{"image.alauda.io", "v1", "imagestreams"}

	LimitRanges            = Resource{"", "v1", "limitranges"}
	Pods                   = Resource{"", "v1", "pods"}
	PodTemplates           = Resource{"", "v1", "podtemplates"}
	ReplicationControllers = Resource{"", "v1", "replicationcontrollers"}
	ReplicaSets            = Resource{"apps", "v1", "replicasets"}
	Deployments            = Resource{"apps", "v1", "deployments"}
	DaemonSets             = Resource{"apps", "v1", "daemonsets"}
	StatefulSets           = Resource{"apps", "v1", "statefulsets"}
	ControllerRevisions    = Resource{"apps", "v1", "controllerrevisions"}
	Jobs                   = Resource{"batch", "v1", "jobs"}
	CronJobs               = Resource{"batch", "v1", "cronjobs"}
)

// Resources are all of them.
var Resources = []Resource{
	Images, ImageStreams, LimitRanges, Pods, PodTemplates, ReplicationControllers, ReplicaSets, Deployments,
	DaemonSets, StatefulSets, ControllerRevisions, Jobs, CronJobs,
}

// Objects is a list that may be made while it is read.
type Objects interface {
	Len() int
	// At returns an object that its caller must not change.
	At(i int) runtime.Object
}

// Cluster is everything that the pruner can see.
type Cluster struct {
	// Now is the time of the cluster, by which its objects have their ages.
	Now   time.Time
	Lists map[Resource]Objects
}

// Now is the time of every generated cluster.
var Now = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// InternalHost is the name of the registry in references.
const InternalHost = "image-registry.image-registry-system.svc:5000"

// Slice holds objects that were made already.
type Slice []runtime.Object

// Len implements Objects.
func (s Slice) Len() int { return len(s) }

// At implements Objects.
func (s Slice) At(i int) runtime.Object { return s[i] }

// made are objects that are made when somebody looks at them.
type made struct {
	count int
	at    func(i int) runtime.Object
}

// Len implements Objects.
func (m made) Len() int { return m.count }

// At implements Objects.
func (m made) At(i int) runtime.Object { return m.at(i) }

// Digest is a digest that stands for the text.
func Digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func identity(name string) types.UID {
	text := Digest("uid " + name)[len("sha256:"):]
	return types.UID(fmt.Sprintf("%s-%s-%s-%s-%s", text[:8], text[8:12], text[12:16], text[16:20], text[20:32]))
}
