package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"
)

// dockerfileTemplate gives the content that this program gives, for people who build with Docker.
var dockerfileTemplate = template.Must(template.New("Dockerfile").Funcs(template.FuncMap{"quoted": quoted}).Parse(
	`# Rendered from images/images.yaml by: go run ./hack/images dockerfiles
# Build from the root of the repository: docker build -f images/{{.Image.Name}}/Dockerfile .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS TARGETARCH
ARG VERSION=v0.0.0-dev
ARG COMMIT=
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
      -ldflags "-s -w -buildid= -X image.alauda.io/registry/pkg/version.version=$VERSION -X image.alauda.io/registry/pkg/version.commit=$COMMIT" \
      -o /out{{.Image.Entrypoint}} {{.Image.Package}}
RUN mkdir -p /out/etc /out/tmp && chmod 1777 /out/tmp && \
    printf '{{.Passwd}}' > /out/etc/passwd && \
    printf '{{.Group}}' > /out/etc/group
{{- if .Image.CABundle}}
RUN mkdir -p /out/etc/ssl/certs && cp {{.CABundlePath}} /out{{.CABundlePath}}
{{- end}}
{{- range .Image.Files}}
RUN install -D -m 0644 {{.Source}} /out{{.Path}}
{{- end}}

FROM scratch
ARG VERSION=v0.0.0-dev
ARG COMMIT=
COPY --from=build /out/ /
LABEL {{.Labels}}
ENV PATH=/usr/bin
WORKDIR /
USER {{.Image.User}}
ENTRYPOINT [{{quoted .Image.Entrypoint}}]
`))

// contentTemplate is that of images without program.
var contentTemplate = template.Must(template.New("Dockerfile").Parse(
	`# Rendered from images/images.yaml by: go run ./hack/images dockerfiles
# Build from the root of the repository: docker build -f images/{{.Image.Name}}/Dockerfile .
FROM scratch
ARG VERSION=v0.0.0-dev
ARG COMMIT=
{{- range .Image.Content}}
COPY {{.Source}} {{.Path}}
{{- end}}
LABEL {{.Labels}}
`))

func quoted(s string) string { return fmt.Sprintf("%q", s) }

// templateImage adds to the settings what the template needs.
type templateImage struct {
	imageSettings
	Entrypoint string
}

func renderDockerfile(image imageSettings) ([]byte, error) {
	values := labels(image, stamp{Version: "$VERSION", Commit: "$COMMIT"})
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	for i, name := range names {
		names[i] = name + "=" + quoted(values[name])
	}
	var out bytes.Buffer
	render := dockerfileTemplate
	if image.contentOnly() {
		render = contentTemplate
	}
	err := render.Execute(&out, map[string]any{
		"Image":        templateImage{image, image.entrypoint()},
		"Labels":       strings.Join(names, " \\\n      "),
		"Passwd":       shellLines(passwd),
		"Group":        shellLines(group),
		"CABundlePath": caBundlePath,
	})
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", image.Name, err)
	}
	return out.Bytes(), nil
}

// shellLines keeps a text with newlines on one line of a Dockerfile: the build shell's printf is given
// the text as its format.
func shellLines(text string) string { return strings.ReplaceAll(text, "\n", `\n`) }

// dockerfiles writes images/<name>/Dockerfile for every image of the product.
func dockerfiles(root string) error {
	images, err := loadSettings(root)
	if err != nil {
		return err
	}
	for _, image := range images {
		if image.Sample {
			continue
		}
		text, err := renderDockerfile(image)
		if err != nil {
			return err
		}
		file := dockerfilePath(root, image)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func dockerfilePath(root string, image imageSettings) string {
	return filepath.Join(root, "images", image.Name, "Dockerfile")
}
