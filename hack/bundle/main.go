// Command bundle makes what the Operator Lifecycle Manager installs: the bundle and the catalog below
// manifests/, from the files that `kubectl apply -k manifests/default` applies.
//
//	go run ./hack/bundle                  writes manifests/bundle and manifests/catalog
//	go run ./hack/bundle --check          names the files that would change, exit code 1 if there are any
//	go run ./hack/bundle --registry host/path --tag v1.0.0 --digests _output/images --out DIR
//
// Input are hack/bundle/{base.yaml,release.yaml,icon.svg}, manifests/{crd,operator,samples} and, for a release,
// the digests of the images that hack/images has built. Output are the ClusterServiceVersion with
// Deployment, rights, examples and related images, the CRDs and the Service, annotations and scorecard
// settings, and the catalog with a way from each earlier release. The same input gives the same bytes.
//
// The command writes no right, name or probe of its own: what is not in those files is not in the bundle.
// It never reaches a network.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
)

func main() {
	if err := newCommand(os.Stdout).Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

func newCommand(log io.Writer) *cobra.Command {
	o := defaultOptions()
	check := false
	command := &cobra.Command{
		Use:           "bundle",
		Short:         "Make the bundle and the catalog for the Operator Lifecycle Manager",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(*cobra.Command, []string) error {
			files, err := render(o)
			if err != nil {
				return err
			}
			if check {
				return verify(o, files, log)
			}
			return write(o, files, log)
		},
	}
	flags := command.Flags()
	flags.StringVar(&o.Root, "root", o.Root, "root of the repository")
	flags.StringVar(&o.Out, "out", o.Out, "folder that gets bundle/ and catalog/ (default manifests below the root)")
	flags.StringVar(&o.Version, "version", o.Version, "version of the bundle (default that of release.yaml)")
	flags.StringVar(&o.Replaces, "replaces", o.Replaces, "version that this one follows (default the last of release.yaml's history)")
	flags.StringVar(&o.Released, "released", o.Released, "folder with the catalog entries of earlier releases, v<version>.yaml (default hack/bundle/released)")
	flags.StringVar(&o.Registry, "registry", o.Registry, "registry and prefix of the image names (default those of manifests/operator/deployment.yaml)")
	flags.StringVar(&o.Tag, "tag", o.Tag, "tag of the image names, with --registry")
	flags.StringVar(&o.Digests, "digests", o.Digests, "folder with the built images, to name them by digest")
	flags.StringVar(&o.BundleImage, "bundle-image", o.BundleImage, "name of the bundle's own image in the catalog")
	flags.BoolVar(&check, "check", check, "write nothing, fail if the files are not current")
	return command
}

// options say which release is made and where its images are.
type options struct {
	Root, Out                   string
	Version, Replaces, Released string
	Registry, Tag, Digests      string
	BundleImage                 string
}

func defaultOptions() options { return options{Root: ".", Tag: "dev"} }

// Validate checks what can be checked without reading a file.
func (o options) Validate() error {
	if o.Digests != "" && o.Registry == "" {
		return errors.New("--digests needs --registry: a digest alone is not the name of an image")
	}
	for flag, value := range map[string]string{"--version": o.Version, "--replaces": o.Replaces} {
		if value == "" {
			continue
		}
		if err := checkVersion(value); err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
	}
	return nil
}

func (o options) out() string {
	if o.Out != "" {
		return o.Out
	}
	return filepath.Join(o.Root, "manifests")
}

// render returns all files by their path below the output folder.
func render(o options) (map[string][]byte, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	in, err := read(o)
	if err != nil {
		return nil, err
	}
	csv, err := clusterServiceVersion(in)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	add := func(path string, objects ...any) error {
		data, err := documents(objects...)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		files[path] = data
		return nil
	}
	if err := add("bundle/manifests/"+packageName+".clusterserviceversion.yaml", csv); err != nil {
		return nil, err
	}
	if err := add("bundle/manifests/"+packageName+".service.yaml", withoutNamespace(in.service)); err != nil {
		return nil, err
	}
	for name, data := range in.crds {
		files["bundle/manifests/"+name] = data
	}
	if err := add("bundle/metadata/annotations.yaml", object{"annotations": bundleLabels()}); err != nil {
		return nil, err
	}
	if err := add("bundle/tests/scorecard/config.yaml", scorecard()); err != nil {
		return nil, err
	}
	catalog, err := catalogFiles(in, csv)
	if err != nil {
		return nil, err
	}
	for name, data := range catalog {
		files["catalog/"+packageName+"/"+name] = data
	}
	return files, nil
}

// managed are the folders below the output folder that belong to this command alone.
var managed = []string{"bundle", "catalog"}

// existing lists what is below the managed folders.
func existing(o options) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, folder := range managed {
		err := filepath.WalkDir(filepath.Join(o.out(), folder), func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || entry.IsDir() {
				return err
			}
			name, err := filepath.Rel(o.out(), path)
			if err != nil {
				return err
			}
			files[filepath.ToSlash(name)], err = os.ReadFile(path)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// differences names what is to be written or removed, sorted.
func differences(is, should map[string][]byte) []string {
	var names []string
	for name, data := range should {
		if have, found := is[name]; !found || !bytes.Equal(have, data) {
			names = append(names, name)
		}
	}
	for name := range is {
		if _, found := should[name]; !found {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func verify(o options, files map[string][]byte, log io.Writer) error {
	is, err := existing(o)
	if err != nil {
		return err
	}
	stale := differences(is, files)
	for _, name := range stale {
		fmt.Fprintln(log, name)
	}
	if len(stale) > 0 {
		return fmt.Errorf("%d files below %s are not current, run make generate", len(stale), o.out())
	}
	return nil
}

func write(o options, files map[string][]byte, log io.Writer) error {
	is, err := existing(o)
	if err != nil {
		return err
	}
	for _, name := range differences(is, files) {
		path := filepath.Join(o.out(), filepath.FromSlash(name))
		data, wanted := files[name]
		if !wanted {
			if err := os.Remove(path); err != nil {
				return err
			}
		} else {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, data, 0o644); err != nil {
				return err
			}
		}
		fmt.Fprintln(log, name)
	}
	return nil
}
