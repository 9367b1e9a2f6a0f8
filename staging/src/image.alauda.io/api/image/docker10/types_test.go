package docker10

import (
	"encoding/json"
	"testing"
)

func TestJSONNamesAreThoseOfTheContainerEngine(t *testing.T) {
	text := `{"kind":"DockerImage","apiVersion":"image.alauda.io/1.0","Id":"sha256:c","Created":"2026-01-02T03:04:05Z",` +
		`"Config":{"User":"1001","CpuShares":2,"Cpuset":"0","ExposedPorts":{"80/tcp":{}},"Env":["A=b"],"Dns":["d"],"Entrypoint":["/run"],"Labels":{"l":"v"}},` +
		`"Architecture":"arm64","Os":"linux","OsVersion":"1","Variant":"v8","Size":7}`
	var image DockerImage
	if err := json.Unmarshal([]byte(text), &image); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(&image)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != text {
		t.Errorf("got  %s\nwant %s", again, text)
	}
	empty, err := json.Marshal(&DockerImage{})
	if err != nil || string(empty) != `{"Id":""}` {
		t.Errorf("an empty image is written as %s, %v, want the Id alone", empty, err)
	}
}

func TestKnownAPIVersions(t *testing.T) {
	for version, want := range map[string]bool{
		"": true, "1.0": true, "image.alauda.io/1.0": true, "image.openshift.io/1.0": true, "v1": false, "image.alauda.io/v1": false,
	} {
		if got := KnownAPIVersion(version); got != want {
			t.Errorf("KnownAPIVersion(%q) = %v, want %v", version, got, want)
		}
	}
}
