package apigroup

import (
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimport"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimport/apply"
)

// addImports adds imagestreamimports, if there is an importer, and what
// records its findings.
func (g *Group) addImports(deps Deps, reviewer imagestream.AccessReviewer) error {
	applier, err := apply.New(apply.Options{
		Streams: g.Streams,
		Images:  g.Images,
		Layers:  g.Layers,
		Hosts:   deps.Hosts,
		Clock:   deps.Clock,
	})
	if err != nil {
		return err
	}
	g.Imports = applier
	if deps.Importer == nil {
		return nil
	}
	g.Storage["imagestreamimports"] = imagestreamimport.NewREST(imagestreamimport.Options{
		Importer:    deps.Importer,
		Applier:     applier,
		Credentials: deps.ImportCredentials,
		Streams:     g.Streams,
		Access:      reviewer,
		Allowed:     deps.AllowedRegistries,
		Typer:       g.codecs.Scheme,
	})
	return nil
}
