package manifest

import (
	"encoding/json"
	"time"

	"image.alauda.io/api/image/docker10"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// imageConfig is the part of a config blob that a description keeps.
type imageConfig struct {
	Created         json.RawMessage        `json:"created"`
	Author          string                 `json:"author"`
	Architecture    string                 `json:"architecture"`
	OS              string                 `json:"os"`
	OSVersion       string                 `json:"os.version"`
	Variant         string                 `json:"variant"`
	DockerVersion   string                 `json:"docker_version"`
	Container       string                 `json:"container"`
	Parent          string                 `json:"parent"`
	Comment         string                 `json:"comment"`
	Config          *docker10.DockerConfig `json:"config"`
	ContainerConfig *docker10.DockerConfig `json:"container_config"`
}

// metadata reads the config blob of an image; of an artifact it keeps the platform.
func metadata(m *Manifest, facts Facts) docker10.DockerImage {
	if !IsImageConfig(m.Config.MediaType) {
		var image docker10.DockerImage
		if facts.Platform != nil {
			image.Architecture, image.OS = orUnknown(facts.Platform.Architecture), orUnknown(facts.Platform.OS)
		}
		return image
	}
	var config imageConfig
	if len(facts.Config) == 0 || json.Unmarshal(facts.Config, &config) != nil {
		return docker10.DockerImage{}
	}
	return docker10.DockerImage{
		Created:         creationTime(config.Created),
		Author:          config.Author,
		Architecture:    config.Architecture,
		OS:              config.OS,
		OSVersion:       config.OSVersion,
		Variant:         config.Variant,
		DockerVersion:   config.DockerVersion,
		Container:       config.Container,
		Parent:          config.Parent,
		Comment:         config.Comment,
		Config:          config.Config,
		ContainerConfig: config.ContainerConfig,
	}
}

// creationTime tolerates every value: a build tool's odd date must not hide the rest.
// Years that RFC 3339 cannot write are dropped, since they could not be sent again.
func creationTime(value json.RawMessage) *metav1.Time {
	var text string
	if json.Unmarshal(value, &text) != nil {
		return nil
	}
	created, err := time.Parse(time.RFC3339, text)
	if err != nil || created.UTC().Year() < 0 || created.UTC().Year() > 9999 {
		return nil
	}
	result := metav1.NewTime(created.UTC().Truncate(time.Second))
	return &result
}
