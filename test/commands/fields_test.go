package commands

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/test/pages"
)

// types are the kinds whose fields are known here, by their names in lower case.
var types = map[string]func() any{
	"config":            func() any { return new(imageregistryv1.Config) },
	"imagepruner":       func() any { return new(imageregistryv1.ImagePruner) },
	"image":             func() any { return new(imagev1.Image) },
	"imagestream":       func() any { return new(imagev1.ImageStream) },
	"imagestreamtag":    func() any { return new(imagev1.ImageStreamTag) },
	"imagestreamimport": func() any { return new(imagev1.ImageStreamImport) },
	"deployment":        func() any { return new(appsv1.Deployment) },
	"cronjob":           func() any { return new(batchv1.CronJob) },
	"ingress":           func() any { return new(networkingv1.Ingress) },
	"configmap":         func() any { return new(corev1.ConfigMap) },
	"secret":            func() any { return new(corev1.Secret) },
	"node":              func() any { return new(corev1.Node) },
	"pod":               func() any { return new(corev1.Pod) },
	"resourcequota":     func() any { return new(corev1.ResourceQuota) },
	"limitrange":        func() any { return new(corev1.LimitRange) },
	"webhook":           func() any { return new(admissionv1.MutatingWebhookConfiguration) },
}

// field finds a field of a Go type by its name in JSON. Maps have all fields.
func field(of reflect.Type, name string) (reflect.Type, bool) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	switch of.Kind() {
	case reflect.Map, reflect.Interface:
		return of.Elem(), true
	case reflect.Struct:
		if of.Name() == "RawExtension" {
			return of, true
		}
		for i := range of.NumField() {
			f := of.Field(i)
			json, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if json == name {
				return f.Type, true
			}
			if json == "" && f.Anonymous {
				if found, ok := field(f.Type, name); ok {
					return found, true
				}
			}
		}
	}
	return nil, false
}

// resolve follows a path of names; indexes and filters are left out of it.
func resolve(kind, path string) (missing string, ok bool) {
	return follow(reflect.TypeOf(types[kind]()), path)
}

func follow(of reflect.Type, path string) (missing string, ok bool) {
	for name := range strings.SplitSeq(path, ".") {
		next, found := field(of, strings.ReplaceAll(name, "\x00", "."))
		if !found {
			return name, false
		}
		of = next
	}
	return "", true
}

func typeAt(of reflect.Type, path string) reflect.Type {
	for name := range strings.SplitSeq(path, ".") {
		if next, found := field(of, name); found {
			of = next
		}
	}
	return of
}

var (
	expression = regexp.MustCompile(`\{([^{}]*)\}`)
	brackets   = regexp.MustCompile(`\[[^\]]*\]`)
)

// paths checks each field of a template of kubectl for a kind.
func paths(t *testing.T, c shown, kind, template string) (checked int) {
	t.Helper()
	within := reflect.TypeOf(types[kind]())
	base := within
	for _, match := range expression.FindAllStringSubmatch(template, -1) {
		text := strings.ReplaceAll(match[1], `\.`, "\x00")
		path, ranged := strings.CutPrefix(text, "range ")
		switch {
		case text == "end":
			within = base
			continue
		case strings.HasPrefix(text, `"`):
			continue
		}
		path = strings.TrimPrefix(brackets.ReplaceAllString(path, ""), ".")
		path = strings.TrimPrefix(path, "items.") // of a list
		checked++
		if missing, ok := follow(within, path); !ok {
			t.Errorf("%s: {%s}: a %s has no field %s: %s", c.page, match[1], kind, missing, c.text)
			continue
		}
		if ranged {
			within = typeAt(base, path)
		}
	}
	return checked
}

func TestFieldsOfJSONPathsExist(t *testing.T) {
	checked := 0
	for _, c := range everyCommand(t) {
		if c.words[0] != "kubectl" {
			continue
		}
		q := ask(c.words)
		kinds, _, _ := q.targets()
		if len(kinds) == 0 || types[kinds[0]] == nil {
			continue
		}
		for _, flags := range [][]string{q.flags["-o"], q.flags["--output"], q.flags["--for"]} {
			for _, value := range flags {
				if template, ok := strings.CutPrefix(value, "jsonpath="); ok {
					checked += paths(t, c, kinds[0], template)
				}
			}
		}
	}
	if checked < 25 {
		t.Errorf("only %d fields were compared", checked)
	}
}

// Fields that sentences name are fields of some kind that the pages are about.
func TestFieldsInSentencesExist(t *testing.T) {
	all, err := pages.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^((?:spec|status)(?:\.[a-zA-Z0-9]+(?:\[\])?)+)(?:[:=]? .*)?$`)
	// spec.config is the Subscription's, of the Operator Lifecycle Manager.
	foreign := regexp.MustCompile(`^spec\.config\.`)
	checked := 0
	for page, text := range all {
		_, rest, err := pages.Blocks(text)
		if err != nil {
			t.Fatalf("%s: %v", page, err)
		}
		for _, code := range pages.Inline(rest) {
			match := name.FindStringSubmatch(strings.TrimSuffix(code, ":"))
			if match == nil || foreign.MatchString(match[1]) {
				continue
			}
			checked++
			path, known := strings.ReplaceAll(match[1], "[]", ""), false
			for kind := range types {
				_, ok := resolve(kind, path)
				known = known || ok
			}
			if !known {
				t.Errorf("%s names the field %s, which no kind has", page, match[1])
			}
		}
	}
	if checked < 60 {
		t.Errorf("only %d fields were compared", checked)
	}
}

// Objects in the pages can be decoded, and have no field that their kind does not have.
func TestObjectsInPagesFitTheirKinds(t *testing.T) {
	all, err := pages.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	kindLine := regexp.MustCompile(`(?m)^kind: (\w+)$`)
	checked := 0
	for page, text := range all {
		blocks, _, err := pages.Blocks(text)
		if err != nil {
			t.Fatalf("%s: %v", page, err)
		}
		for _, block := range blocks {
			objects := []string{}
			if block.Language == "yaml" {
				objects = append(objects, block.Text)
			}
			for _, words := range pages.Commands(block.Text) {
				if i := len(words) - 2; i > 0 && words[i] == "<<" && block.Language != "yaml" {
					objects = append(objects, words[i+1])
				}
			}
			for _, object := range objects {
				kind := ""
				switch match := kindLine.FindStringSubmatch(object); {
				case match != nil:
					kind = strings.ToLower(match[1])
				case strings.HasPrefix(object, "spec:"):
					kind = "config"
				default:
					continue // part of an object, or the configuration of a program
				}
				if types[kind] == nil {
					if kind != "kustomization" {
						t.Errorf("%s, line %d: the fields of a %s are not known here", page, block.Line, kind)
					}
					continue
				}
				checked++
				if err := fits(kind, []byte(object)); err != nil {
					t.Errorf("%s, line %d: %v", page, block.Line, err)
				}
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d objects were compared", checked)
	}
}
