package manifest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image.alauda.io/api/image/docker10"
	imagev1 "image.alauda.io/api/image/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var now = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

const fullConfig = `{"created":"2025-06-07T08:09:10.123Z","author":"team","architecture":"arm64","os":"linux","variant":"v8","os.version":"1",
"docker_version":"27.0","config":{"Env":["A=b"],"Cmd":["run"],"Labels":{"a":"b"},"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["x"]}},
"container_config":{"Hostname":"h"},"rootfs":{"type":"layers"}}`

func describe(t *testing.T, raw string, facts Facts, limit int) *imagev1.Image {
	t.Helper()
	m, err := Parse([]byte(raw), "")
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	facts.Now = now
	image := &imagev1.Image{}
	image.Name = m.Digest.String()
	if err := Describe(m, facts).Apply(image, limit); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return image
}

// Behaviour 39.
func TestDescribeGolden(t *testing.T) {
	layer := descriptorJSON("application/vnd.oci.image.layer.v1.tar+gzip", digestB, 900)
	docker := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s,%s]}`,
		DockerManifest, descriptorJSON(DockerConfig, digestA, 70), layer, layer)
	oci := fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s]}`, descriptorJSON(OCIConfig, digestA, 70), layer)
	artifact := fmt.Sprintf(`{"schemaVersion":2,"artifactType":"application/example","config":%s,"layers":[%s],"subject":%s}`,
		descriptorJSON(OCIEmpty, digestA, 2), layer, descriptorJSON(OCIManifest, digestB, 5))
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":3,"platform":{"architecture":"arm64","os":"linux","variant":"v8"}},%s]}`,
		OCIManifest, digestA, descriptorJSON(OCIManifest, digestB, 4))
	tests := []struct {
		name, raw string
		facts     Facts
	}{
		{"docker", docker, Facts{Config: []byte(fullConfig)}},
		{"oci", oci, Facts{Config: []byte(fullConfig)}},
		{"oci-config-without-fields", oci, Facts{Config: []byte("{}")}},
		{"oci-config-undecodable", oci, Facts{Config: []byte(`{"config":"text"}`)}},
		{"artifact", artifact, Facts{Config: []byte("{}")}},
		{"index", index, Facts{ChildrenSize: 1000}},
		{"list", strings.Replace(index, `{"schemaVersion":2`, `{"schemaVersion":2,"mediaType":"`+DockerManifestList+`"`, 1), Facts{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := json.MarshalIndent(describe(t, test.raw, test.facts, 0), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			file := filepath.Join("testdata", test.name+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Behaviour 22.
func TestApplyDropsMetadataUntilItFits(t *testing.T) {
	labels := strings.Repeat(`"`+strings.Repeat("k", 50)+`":"v",`, 1)
	big := strings.Replace(fullConfig, `"Labels":{`, `"Labels":{`+labels+`"big":"`+strings.Repeat("x", 40000)+`",`, 1)
	image := describe(t, imageJSON(""), Facts{Config: []byte(big)}, 20000)
	if raw := string(image.DockerImageMetadata.Raw); strings.Contains(raw, "Labels") || !strings.Contains(raw, `"Env":["A=b"]`) {
		t.Errorf("metadata %.300s, want no labels but the environment", raw)
	}
	big = strings.Replace(fullConfig, `["A=b"]`, `["A=`+strings.Repeat("x", 40000)+`"]`, 1)
	image = describe(t, imageJSON(""), Facts{Config: []byte(big)}, 20000)
	if raw := string(image.DockerImageMetadata.Raw); strings.Contains(raw, "Config") || !strings.Contains(raw, `"arm64"`) {
		t.Errorf("metadata %.300s, want no config but the architecture", raw)
	}
}

func TestSizesDoNotOverflow(t *testing.T) {
	huge := strings.Replace(imageJSON(""), `"size":9`, `"size":9223372036854775807`, 1)
	image := describe(t, huge, Facts{}, 0)
	if !strings.Contains(string(image.DockerImageMetadata.Raw), `"Size":9223372036854775807`) {
		t.Errorf("metadata %s, want the largest size", image.DockerImageMetadata.Raw)
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add([]byte(imageJSON("")), []byte(fullConfig))
	f.Add([]byte(indexJSON("")), []byte(nil))
	f.Add([]byte(imageJSON("")), []byte(`{"created":"0000-01-01T00:00:00+23:59"}`))
	f.Fuzz(func(t *testing.T, raw, config []byte) {
		m, err := Parse(raw, "")
		if err != nil {
			return
		}
		image := &imagev1.Image{}
		if err := Describe(m, Facts{Config: config, Now: now}).Apply(image, 0); err != nil {
			t.Fatalf("a checked manifest cannot be described: %v", err)
		}
	})
}

func TestApplyDropsLongTextsLast(t *testing.T) {
	long := strings.Repeat("x", 4096)
	d := Description{Metadata: docker10.DockerImage{ID: "sha256:a", Architecture: "arm64", OS: long, Author: long, Comment: long, Size: 7}}
	image := &imagev1.Image{}
	if err := d.Apply(image, 2048); err != nil {
		t.Fatal(err)
	}
	var got docker10.DockerImage
	if err := json.Unmarshal(image.DockerImageMetadata.Raw, &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != "sha256:a" || got.Architecture != "arm64" || got.Size != 7 || got.OS != "" || got.Author != "" || got.Comment != "" {
		t.Errorf("metadata %+v", got)
	}
}
