package imagestreamimport_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	configv1 "image.alauda.io/api/config/v1"
	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/allowlist"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
)

func TestRequestsAreChecked(t *testing.T) {
	repository := func(name string) func(*imagev1.ImageStreamImport) {
		return func(r *imagev1.ImageStreamImport) {
			r.Spec.Images, r.Spec.Repository = nil, &imagev1.RepositoryImportSpec{From: docker(name)}
		}
	}
	tests := map[string]struct {
		change func(*imagev1.ImageStreamImport)
		field  string
	}{
		"nothing":             {func(r *imagev1.ImageStreamImport) { r.Spec.Images = nil }, "spec.images"},
		"kind":                {func(r *imagev1.ImageStreamImport) { r.Spec.Images[0].From.Kind = "ImageStreamTag" }, "spec.images[0].from.kind"},
		"namespace":           {func(r *imagev1.ImageStreamImport) { r.Spec.Images[0].From.Namespace = ns }, "spec.images[0].from.namespace"},
		"no name":             {func(r *imagev1.ImageStreamImport) { r.Spec.Images[0].From.Name = "" }, "spec.images[0].from.name"},
		"malformed":           {func(r *imagev1.ImageStreamImport) { r.Spec.Images[0].From.Name = "A/b" }, "spec.images[0].from.name"},
		"registry only":       {func(r *imagev1.ImageStreamImport) { r.Spec.Images[0].From.Name = "quay.io" }, "spec.images[0].from.name"},
		"empty to":            {func(r *imagev1.ImageStreamImport) { r.Spec.Images[0].To = &corev1.LocalObjectReference{} }, "spec.images[0].to.name"},
		"to":                  {func(r *imagev1.ImageStreamImport) { r.Spec.Images[0].To = &corev1.LocalObjectReference{Name: "a:b"} }, "spec.images[0].to.name"},
		"mode":                {func(r *imagev1.ImageStreamImport) { r.Spec.Images[0].ImportPolicy.ImportMode = "Both" }, "spec.images[0].importPolicy.importMode"},
		"reference policy":    {func(r *imagev1.ImageStreamImport) { r.Spec.Images[0].ReferencePolicy.Type = "Both" }, "spec.images[0].referencePolicy.type"},
		"repository tag":      {repository(hub + ":v1"), "spec.repository.from.name"},
		"repository digest":   {repository(hub + "@" + grouptest.Digest("a")), "spec.repository.from.name"},
		"repository wildcard": {repository("quay.io/org/*"), "spec.repository.from.name"},
		"name":                {func(r *imagev1.ImageStreamImport) { r.Name = "*" }, "metadata.name"},
		"long name":           {func(r *imagev1.ImageStreamImport) { r.Name = strings.Repeat("a", 250) }, "metadata.name"},
		"too many": {func(r *imagev1.ImageStreamImport) {
			for range 100 {
				r.Spec.Images = append(r.Spec.Images, from(hub+":v1", ""))
			}
		}, "spec.images"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			env := grouptest.New(t)
			r := request("app", from(hub+":v1", ""))
			test.change(r)
			_, err := env.CreateImport(env.Request(user, ns, "imagestreamimports"), r)
			status, ok := err.(apierrors.APIStatus)
			if !ok || !apierrors.IsInvalid(err) {
				t.Fatalf("got %v, want Invalid", err)
			}
			for _, cause := range status.Status().Details.Causes {
				if cause.Field == test.field {
					return
				}
			}
			t.Errorf("causes are %+v, want one on %s", status.Status().Details.Causes, test.field)
		})
	}
}

// Behaviour 44.
func TestOnlyWhoMayCreateImagesPassesTheAllowList(t *testing.T) {
	env := grouptest.New(t, func(env *grouptest.Env, deps *apigroup.Deps) {
		list, err := allowlist.New([]configv1.RegistryLocation{{DomainName: "docker.io"}}, env.Hosts)
		if err != nil {
			t.Fatal(err)
		}
		deps.AllowedRegistries = func() *allowlist.List { return list }
	})
	w := newWorld(env)
	w.images[hub+":v1"], w.images["docker.io/library/app:v1"] = image("one"), image("two")
	refused := request("app", from("docker.io/library/app:v1", ""), from(hub+":v1", "v2"))
	refused.Spec.Repository = &imagev1.RepositoryImportSpec{From: docker("ghcr.io/org/app")}
	_, err := env.CreateImport(env.Request(user, ns, "imagestreamimports"), refused)
	status, ok := err.(apierrors.APIStatus)
	if !ok || !apierrors.IsInvalid(err) || len(status.Status().Details.Causes) != 2 {
		t.Fatalf("got %v, want two causes", err)
	}
	for i, field := range []string{"spec.images[1].from.name", "spec.repository.from.name"} {
		if got := status.Status().Details.Causes[i]; got.Field != field {
			t.Errorf("cause %d is %+v, want %s", i, got, field)
		}
	}
	if len(w.asked) != 0 {
		t.Errorf("the importer was asked for %v", w.asked)
	}
	send(t, env, request("app", from("docker.io/library/app:v1", "")))
	if _, err := env.CreateImport(env.Request("registry", ns, "imagestreamimports"), request("app", from(hub+":v1", "v2"))); err != nil {
		t.Errorf("who may create images is refused: %v", err)
	}
	if got := head(t, env.Stream(ns, "app"), "v2").Image; got != grouptest.Digest("one") {
		t.Errorf("the tag shows %s", got)
	}
}
