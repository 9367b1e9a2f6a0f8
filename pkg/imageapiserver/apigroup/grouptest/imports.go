package grouptest

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/registry/rest"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimport/credentials"
	"image.alauda.io/registry/pkg/imageapiserver/importer"
)

// engine answers imports with the function of the Env.
type engine struct{ env *Env }

// Import implements importer.Interface.
func (e engine) Import(ctx context.Context, request importer.Request) importer.Result {
	if e.env.Import == nil {
		e.env.T.Error("an import was made and Env.Import is not set")
		return importer.Result{Items: make([]importer.ItemResult, len(request.Items))}
	}
	return e.env.Import(ctx, request)
}

func (e *Env) credentials() *credentials.Source {
	e.T.Helper()
	source, err := credentials.New(credentials.Options{
		Secrets: e.Client.CoreV1(), Namespace: imagev1.RegistryNamespace,
		ClusterSecret: func() string { return e.ClusterSecret },
		OwnHosts:      func() []string { return e.Hosts.Names() },
	})
	if err != nil {
		e.T.Fatal(err)
	}
	return source
}

// CreateImport sends an import as some user, as it comes from the wire.
func (e *Env) CreateImport(ctx context.Context, request *imagev1.ImageStreamImport, dryRun ...string) (*imageapi.ImageStreamImport, error) {
	e.T.Helper()
	request = request.DeepCopy()
	e.Codecs.Scheme.Default(request)
	internal := &imageapi.ImageStreamImport{}
	if err := e.Codecs.Scheme.Convert(request, internal, nil); err != nil {
		e.T.Fatal(err)
	}
	storage := e.Group.Storage["imagestreamimports"].(rest.Creater)
	obj, err := storage.Create(ctx, internal, rest.ValidateAllObjectFunc, &metav1.CreateOptions{DryRun: dryRun})
	if err != nil {
		return nil, err
	}
	return obj.(*imageapi.ImageStreamImport), nil
}
