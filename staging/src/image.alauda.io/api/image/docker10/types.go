package docker10

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// DockerImage describes an image as its config does.
type DockerImage struct {
	metav1.TypeMeta `json:",inline"`

	// Id is the digest of the config blob.
	ID string `json:"Id"`
	// Parent is the id of the parent image.
	Parent string `json:"Parent,omitempty"`
	// Comment is the comment of the last commit.
	Comment string `json:"Comment,omitempty"`
	// Created is the time of creation.
	Created *metav1.Time `json:"Created,omitempty"`
	// Container is the id of the container the image was made from.
	Container string `json:"Container,omitempty"`
	// ContainerConfig is the configuration of that container.
	ContainerConfig *DockerConfig `json:"ContainerConfig,omitempty"`
	// DockerVersion is the version of the builder.
	DockerVersion string `json:"DockerVersion,omitempty"`
	// Author is the author.
	Author string `json:"Author,omitempty"`
	// Config is the configuration of containers made from the image.
	Config *DockerConfig `json:"Config,omitempty"`
	// Architecture is the processor architecture.
	Architecture string `json:"Architecture,omitempty"`
	// Os is the operating system.
	OS string `json:"Os,omitempty"`
	// OsVersion is the version of the operating system.
	OSVersion string `json:"OsVersion,omitempty"`
	// Variant is the variant of the architecture.
	Variant string `json:"Variant,omitempty"`
	// Size is the size of config and distinct layers in bytes.
	Size int64 `json:"Size,omitempty"`
}

// DockerConfig is the configuration of a container.
type DockerConfig struct {
	Hostname        string              `json:"Hostname,omitempty"`
	Domainname      string              `json:"Domainname,omitempty"`
	User            string              `json:"User,omitempty"`
	Memory          int64               `json:"Memory,omitempty"`
	MemorySwap      int64               `json:"MemorySwap,omitempty"`
	CPUShares       int64               `json:"CpuShares,omitempty"`
	CPUSet          string              `json:"Cpuset,omitempty"`
	AttachStdin     bool                `json:"AttachStdin,omitempty"`
	AttachStdout    bool                `json:"AttachStdout,omitempty"`
	AttachStderr    bool                `json:"AttachStderr,omitempty"`
	PortSpecs       []string            `json:"PortSpecs,omitempty"`
	ExposedPorts    map[string]struct{} `json:"ExposedPorts,omitempty"`
	Tty             bool                `json:"Tty,omitempty"`
	OpenStdin       bool                `json:"OpenStdin,omitempty"`
	StdinOnce       bool                `json:"StdinOnce,omitempty"`
	Env             []string            `json:"Env,omitempty"`
	Cmd             []string            `json:"Cmd,omitempty"`
	DNS             []string            `json:"Dns,omitempty"`
	Image           string              `json:"Image,omitempty"`
	Volumes         map[string]struct{} `json:"Volumes,omitempty"`
	VolumesFrom     string              `json:"VolumesFrom,omitempty"`
	WorkingDir      string              `json:"WorkingDir,omitempty"`
	Entrypoint      []string            `json:"Entrypoint,omitempty"`
	NetworkDisabled bool                `json:"NetworkDisabled,omitempty"`
	SecurityOpts    []string            `json:"SecurityOpts,omitempty"`
	OnBuild         []string            `json:"OnBuild,omitempty"`
	Labels          map[string]string   `json:"Labels,omitempty"`
}
