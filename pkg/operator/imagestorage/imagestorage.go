// Package imagestorage decides where image-api-server keeps the metadata of images and image streams: in hidden
// custom resources of the cluster, or in an etcd of its own.
//
// In come spec.imageAPI.storage of Config/cluster, the place that is in use, the annotation that allows another
// one, the Secret with the client's certificate, and how many records the cluster holds. Out comes a Plan: the
// place as it stands in the status, and what the server needs to reach it.
//
// Metadata decides who may pull what, and a server that begins with an empty place looks like a registry that lost
// everything. So the place changes only when somebody says so, or when there is nothing to lose, and an etcd is
// reached by TLS with certificates of both sides. The package is pure; it moves no metadata and reads none.
package imagestorage

import (
	"strings"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
)

const (
	// DefaultPrefix is put before every key in an etcd.
	DefaultPrefix = "/registry/image.alauda.io"
	// NearLimit is the number of records above which the cluster's own store is not the place for them.
	NearLimit = 30_000
)

// Keys of the Secret of an etcd.
const (
	KeyCA, KeyCertificate, KeyPrivate = "ca.crt", "tls.crt", "tls.key"
)

// Records is how many images and image streams the cluster holds.
type Records struct {
	Known bool
	Count int64
}

// Many says whether there are more than the cluster's store is good for.
func (r Records) Many() bool { return r.Known && r.Count > NearLimit }

// Facts are what the decision needs to know.
type Facts struct {
	Spec registryv1.ImageStorageSpec
	// Allowed is the value of the annotation that allows another place: a type.
	Allowed string
	// InUse is the place that the server uses or used last, empty when nobody knows of any.
	InUse string
	// Secret is the data of the Secret of the etcd, nil when it does not exist.
	Secret map[string][]byte
	// Namespace is the one of the operands, for messages.
	Namespace string
	// Records are those of the cluster. They are asked for only where they matter.
	Records func() (Records, error)
}

// Plan is the decision. Its zero value leaves the server as it is.
type Plan struct {
	// Place is CRD, or Etcd/<first endpoint>/<prefix>.
	Place string
	// Etcd is nil for custom resources.
	Etcd *Etcd
}

// Known says whether there is a decision.
func (p Plan) Known() bool { return p.Place != "" }

// CRD says whether the metadata lies in custom resources.
func (p Plan) CRD() bool { return p.Place == string(registryv1.ImageStorageCRD) }

// Etcd is what the server needs to reach an etcd.
type Etcd struct {
	// Servers are the URLs of its members.
	Servers []string
	Prefix  string
	// SecretName is the Secret with the certificates, Secret their content.
	SecretName string
	Secret     map[string][]byte
}

// InCluster is the plan for custom resources.
func InCluster() Plan { return Plan{Place: string(registryv1.ImageStorageCRD)} }

// Decide returns where the metadata lies. With a fault the plan is the old place, if it can still be described.
func Decide(f Facts) (Plan, error) {
	wanted, invalid := f.wanted()
	if invalid != nil {
		if !IsEtcd(f.InUse) && f.InUse != "" {
			return InCluster(), invalid
		}
		return Plan{}, invalid
	}
	if wanted.Etcd != nil && f.sameEtcd(*wanted.Etcd) {
		wanted.Place = f.InUse // another member comes first now
	}
	from, err := f.from(wanted)
	if err != nil {
		return Plan{}, err
	}
	if from == "" || from == wanted.Place || f.Allowed == typeOf(wanted.Place) {
		return wanted, nil
	}
	refused := fault.Permanentf(registryv1.ReasonImageAPIStorageChange,
		"spec.imageAPI.storage of Config cluster would move the image metadata from %s to %s; undo the change, or set the registry to Removed, copy the metadata with image-api-server storage migrate, and allow the change with annotation %s: %s",
		from, wanted.Place, registryv1.AllowImageStorageChangeAnnotation, typeOf(wanted.Place))
	if !IsEtcd(from) {
		return InCluster(), refused
	}
	return Plan{}, refused
}

// from is the place that would be left, empty when there is nothing to lose.
func (f Facts) from(wanted Plan) (string, error) {
	if IsEtcd(f.InUse) || wanted.CRD() || f.Allowed == typeOf(wanted.Place) {
		return f.InUse, nil
	}
	// From the cluster, or from a place that nobody knows, as after a Config was deleted: its records tell.
	records, err := f.Records()
	if err != nil {
		return "", err
	}
	if records.Known && records.Count == 0 {
		return "", nil
	}
	return string(registryv1.ImageStorageCRD), nil
}

// sameEtcd says whether an etcd is the one in use: the recorded member is still one of it.
func (f Facts) sameEtcd(etcd Etcd) bool {
	for _, server := range etcd.Servers {
		if f.InUse == placeOf(server, etcd.Prefix) {
			return true
		}
	}
	return false
}

// IsEtcd says whether a place is an etcd.
func IsEtcd(place string) bool {
	return strings.HasPrefix(place, string(registryv1.ImageStorageEtcd)+"/")
}

func placeOf(server, prefix string) string {
	return string(registryv1.ImageStorageEtcd) + "/" + server + prefix
}

func typeOf(place string) string {
	if IsEtcd(place) {
		return string(registryv1.ImageStorageEtcd)
	}
	return string(registryv1.ImageStorageCRD)
}
