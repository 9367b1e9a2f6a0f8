// Package grouptest builds the whole image API group over a store in memory,
// for tests of its resources.
//
// In: a test. Out: an Env with the group, a clock that the test moves, host
// names that it may change, access reviews that it answers, and contexts of
// requests as the generic API server makes them. Everything but the store,
// the clock and the reviews is the code that runs in the server.
package grouptest

import (
	"context"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/kubernetes/fake"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	testingclock "k8s.io/utils/clock/testing"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/memstorage"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimage"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreammapping"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamtag"
	"image.alauda.io/registry/pkg/imageapiserver/importer"
)

// Internal is the internal host of the registry in tests.
const Internal = "image-registry.image-registry-system.svc:5000"

// Env is one API group with its surroundings.
type Env struct {
	T       *testing.T
	Group   *apigroup.Group
	Codecs  *apigroup.Codecs
	Backend *memstorage.Backend
	Clock   *testingclock.FakeClock
	Client  *fake.Clientset
	Reviews *Reviews
	// Hosts are the names of the registry; a test may change them between
	// requests.
	Hosts repository.Hosts
	// MaxTagHistory limits events of a tag.
	MaxTagHistory int
	// Import answers what imports look up.
	Import func(ctx context.Context, request importer.Request) importer.Result
	// ClusterSecret names credentials for all imports.
	ClusterSecret string
}

// New builds a group. Each change is made to what the group needs, before it is
// built.
func New(t *testing.T, changes ...func(*Env, *apigroup.Deps)) *Env {
	t.Helper()
	codecs, err := apigroup.NewCodecs(nil)
	if err != nil {
		t.Fatal(err)
	}
	env := &Env{
		T:       t,
		Codecs:  codecs,
		Backend: memstorage.New(codecs.Storage),
		Clock:   testingclock.NewFakeClock(time.Now().Truncate(time.Second)),
		Client:  fake.NewClientset(),
		Reviews: &Reviews{},
		Hosts:   repository.Hosts{Internal: Internal},
	}
	deps := apigroup.Deps{
		RESTOptions:   env.Backend,
		Hosts:         func() repository.Hosts { return env.Hosts },
		AccessReviews: env.Reviews,
		Secrets:       env.Client.CoreV1(),
		MaxTagHistory: func() int { return env.MaxTagHistory },
		Clock:         env.Clock,

		Importer: engine{env}, ImportCredentials: env.credentials(),
	}
	for _, change := range changes {
		change(env, &deps)
	}
	env.Group, err = apigroup.New(deps, codecs)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// Request is the context of a request by a user.
func (e *Env) Request(name, namespace, resource string) context.Context {
	ctx := request.WithNamespace(e.T.Context(), namespace)
	ctx = request.WithUser(ctx, &user.DefaultInfo{Name: name, Groups: []string{"system:authenticated"}})
	return request.WithRequestInfo(ctx, &request.RequestInfo{
		IsResourceRequest: true, APIGroup: imageapi.GroupName, APIVersion: "v1", Namespace: namespace, Resource: resource,
	})
}

// Streams is the storage of imagestreams.
func (e *Env) Streams() *imagestream.REST { return e.Group.Streams }

// Tags is the storage of imagestreamtags.
func (e *Env) Tags() *imagestreamtag.REST {
	return e.Group.Storage["imagestreamtags"].(*imagestreamtag.REST)
}

// StreamImages is the storage of imagestreamimages.
func (e *Env) StreamImages() *imagestreamimage.REST {
	return e.Group.Storage["imagestreamimages"].(*imagestreamimage.REST)
}

// Mappings is the storage of imagestreammappings.
func (e *Env) Mappings() *imagestreammapping.REST {
	return e.Group.Storage["imagestreammappings"].(*imagestreammapping.REST)
}

// CreateStream stores a stream as the user alice would.
func (e *Env) CreateStream(stream *imageapi.ImageStream) *imageapi.ImageStream {
	e.T.Helper()
	ctx := e.Request("alice", stream.Namespace, "imagestreams")
	obj, err := e.Streams().Create(ctx, stream.DeepCopy(), rest.ValidateAllObjectFunc, &metav1.CreateOptions{})
	if err != nil {
		e.T.Fatalf("create stream %s/%s: %v", stream.Namespace, stream.Name, err)
	}
	return obj.(*imageapi.ImageStream)
}

// Stream reads a stream.
func (e *Env) Stream(namespace, name string) *imageapi.ImageStream {
	e.T.Helper()
	stream, err := e.Streams().Find(e.Request("alice", namespace, "imagestreams"), name)
	if err != nil {
		e.T.Fatalf("get stream %s/%s: %v", namespace, name, err)
	}
	return stream
}

// Push maps an image into a stream as the registry does on a push.
func (e *Env) Push(namespace, stream, tag string, image *imageapi.Image) {
	e.T.Helper()
	if err := e.Map("registry", namespace, stream, tag, image); err != nil {
		e.T.Fatalf("push %s into %s/%s:%s: %v", image.Name, namespace, stream, tag, err)
	}
}

// Map maps an image as some user.
func (e *Env) Map(userName, namespace, stream, tag string, image *imageapi.Image) error {
	mapping := &imageapi.ImageStreamMapping{Image: *image.DeepCopy(), Tag: tag}
	mapping.Namespace, mapping.Name = namespace, stream
	ctx := e.Request(userName, namespace, "imagestreammappings")
	_, err := e.Mappings().Create(ctx, mapping, rest.ValidateAllObjectFunc, &metav1.CreateOptions{})
	return err
}

// Reviews answers access reviews. The user "registry" may create images;
// everything else is allowed by Allow.
type Reviews struct {
	authorizationclient.SubjectAccessReviewInterface

	mutex sync.Mutex
	// Pulls are the "<user> <namespace>/<stream>" that may be pulled.
	Pulls map[string]bool
	// Asked counts the questions.
	Asked int
	// Err is returned instead of an answer.
	Err error
}

// Create implements the client.
func (r *Reviews) Create(_ context.Context, review *authorizationv1.SubjectAccessReview, _ metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.Asked++
	if r.Err != nil {
		return nil, r.Err
	}
	answer := review.DeepCopy()
	attributes := review.Spec.ResourceAttributes
	switch {
	case attributes.Resource == "images" && attributes.Verb == "create":
		answer.Status.Allowed = review.Spec.User == "registry"
	case attributes.Resource == "imagestreams" && attributes.Subresource == "layers" && attributes.Verb == "get":
		answer.Status.Allowed = r.Pulls[review.Spec.User+" "+attributes.Namespace+"/"+attributes.Name]
	}
	return answer, nil
}

// AllowPull lets a user pull from a stream.
func (r *Reviews) AllowPull(userName, namespace, stream string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.Pulls == nil {
		r.Pulls = map[string]bool{}
	}
	r.Pulls[userName+" "+namespace+"/"+stream] = true
}
