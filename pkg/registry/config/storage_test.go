package config

import (
	"os"
	"strings"
	"testing"
)

func storageYAML(section string) string {
	return "version: 0.1\nstorage: " + section + "\nalauda: {server: {addr: \"registry.test:5000\"}}\n"
}

// Behaviour 89.
func TestBadStorageOptionsAreNamedByTheirKey(t *testing.T) {
	for section, want := range map[string]string{
		`{}`:           "storage: no driver",
		`{floppy: {}}`: `storage: driver "floppy" is not known, use one of azure, filesystem`,
		`{s3: {bucket: b, region: us-east-1}, filesystem: {}}`:                       "exactly one",
		`{filesystem: {rootdirectory: data}}`:                                        "storage.filesystem.rootdirectory:",
		`{filesystem: {maxthreads: many}}`:                                           "storage.filesystem.maxthreads: must be a whole number",
		`{filesystem: {maxthreads: 24}}`:                                             "storage.filesystem.maxthreads: 24 must be between 25",
		`{s3: {region: us-east-1}}`:                                                  "storage.s3.bucket: must be set",
		`{s3: {bucket: b}}`:                                                          "storage.s3.region: must be set, unless regionendpoint is",
		`{s3: {bucket: b, region: r, accesskey: a}}`:                                 "storage.s3.secretkey: accesskey and secretkey must be set together",
		`{s3: {bucket: b, region: r, accesskey: 0123, secretkey: s}}`:                "storage.s3.accesskey: must be a text",
		`{s3: {bucket: b, region: r, secure: perhaps}}`:                              "storage.s3.secure: must be true or false",
		`{s3: {bucket: b, region: r, chunksize: 1048576}}`:                           "storage.s3.chunksize: 1048576 must be between 5242880",
		`{s3: {bucket: b, region: r, chunksize: 10MB}}`:                              "storage.s3.chunksize: must be a whole number",
		`{s3: {bucket: b, region: r, storageclass: GOLD}}`:                           "storage.s3.storageclass: must be one of",
		`{s3: {bucket: b, region: r, objectacl: mine}}`:                              "storage.s3.objectacl: must be one of",
		`{s3: {bucket: b, region: r, loglevel: chatty}}`:                             "storage.s3.loglevel: must be one of",
		`{s3: {bucket: b, regionendpoint: "https://user:geheim@s3.test"}}`:           "storage.s3.regionendpoint: must be an address",
		`{s3aws: {bucket: b, region: r, redirectendpoint: "https://cdn.test/base"}}`: "storage.s3aws.redirectendpoint: must have the form",
		`{s3: {bucket: b, region: r, redirectendpoint: cdn.test}}`:                   "storage.s3.redirectendpoint: must have the form",
		`{gcs: {}}`:                        "storage.gcs.bucket: must be set",
		`{gcs: {bucket: b, chunksize: 1}}`: "storage.gcs.chunksize: 1 must be",
		`{azure: {accountname: a}}`:        "storage.azure.container: must be set",
		`{azure: {container: c}}`:          "storage.azure.accountname: must be set",
		`{azure: {accountname: a, container: c, serviceurl: "ftp://x"}}`:   "storage.azure.serviceurl: must be an address",
		`{inmemory: {}, redirect: {disable: perhaps}}`:                     "storage.redirect.disable: perhaps must be true or false",
		`{inmemory: {}, maintenance: {readonly: {enabled: "yes please"}}}`: "storage.maintenance.readonly.enabled:",
	} {
		_, _, err := Parse([]byte(storageYAML(section)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", section, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the error shows a secret: %v", section, err)
		}
	}
}

func TestGoodStorageOptionsAreTaken(t *testing.T) {
	for _, section := range []string{
		`{filesystem: {rootdirectory: /data, maxthreads: 25}}`,
		`{s3: {bucket: b, region: us-east-1, chunksize: 5242880, forcepathstyle: "true", loglevel: off, storageclass: standard}}`,
		`{s3: {bucket: b, regionendpoint: "http://127.0.0.1:7070", accesskey: a, secretkey: s, redirectendpoint: "https://cdn.test"}}`,
		`{s3: {bucket: b, regionendpoint: "minio.storage.svc:9000", accesskey: "", secretkey: ""}}`,
		`{gcs: {bucket: b, chunksize: 262144, credentials: {type: service_account}}}`,
		`{azure: {accountname: a, container: c, serviceurl: "http://127.0.0.1:10000/a", credentials: {type: default_credentials}}}`,
	} {
		if _, warnings, err := Parse([]byte(storageYAML(section))); err != nil || len(warnings) > 0 {
			t.Errorf("%s: error %v, warnings %v", section, err, warnings)
		}
	}
}

func TestStorageWarnings(t *testing.T) {
	_, warnings, err := Parse([]byte(storageYAML(`{s3: {bucket: b, region: r, loglevel: debugwithsigning, skipverify: true, buckt: c}}`)))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(warnings, "\n")
	for _, want := range []string{"storage.s3.loglevel", "storage.s3.skipverify", "unknown configuration key: storage.s3.buckt"} {
		if !strings.Contains(all, want) {
			t.Errorf("warnings %v lack %q", warnings, want)
		}
	}
}

// Behaviour 89.
func TestVariableOfTheDriverReplacesTheSection(t *testing.T) {
	t.Setenv("REGISTRY_STORAGE", "s3")
	for key, value := range map[string]string{
		"BUCKET": "images", "REGION": "us-east-1", "REGIONENDPOINT": "https://s3.test:7070", "ENCRYPT": "false", "KEYID": `""`,
		"FORCEPATHSTYLE": "true", "ACCESSKEY": "0123", "SECRETKEY": `@1e5: "x" #y`, "CHUNKSIZE": "10485760", "ROOTDIRECTORY": "/a/b",
	} {
		t.Setenv("REGISTRY_STORAGE_S3_"+key, value)
	}
	c, warnings, err := Parse([]byte(storageYAML(`{filesystem: {rootdirectory: /data}, redirect: {disable: true}, delete: {enabled: true}}`)))
	if err != nil || len(warnings) > 0 {
		t.Fatalf("error %v, warnings %v", err, warnings)
	}
	name, parameters, err := c.StorageParameters()
	if err != nil || name != "s3" {
		t.Fatalf("driver %q, %v", name, err)
	}
	for key, want := range map[string]any{
		"bucket": "images", "accesskey": "0123", "secretkey": `@1e5: "x" #y`, "keyid": "", "forcepathstyle": true, "chunksize": 10485760, "rootdirectory": "/a/b",
	} {
		if parameters[key] != want {
			t.Errorf("%s is %#v, want %#v", key, parameters[key], want)
		}
	}
	if c.RedirectDisabled() {
		t.Error("redirect.disable of the file is still there")
	}
	if got := os.Getenv("REGISTRY_STORAGE_S3_ACCESSKEY"); got != "0123" {
		t.Errorf("the environment has %q afterwards", got)
	}
	if place := c.StoragePlace(); place != `S3 bucket "images" at https://s3.test:7070` {
		t.Errorf("place %s", place)
	}
	t.Setenv("REGISTRY_STORAGE_REDIRECT_DISABLE", "true")
	if c, _, err = Parse([]byte(storageYAML(`{inmemory: {}}`))); err != nil || !c.RedirectDisabled() {
		t.Errorf("more specific variables come after it: %v", err)
	}
}

// Behaviour 89: the parser of the engine drops the variable where the file has the section.
func TestNestedVariablesOfTheStorageCount(t *testing.T) {
	for _, file := range []string{`{inmemory: {}}`, `{inmemory: {}, maintenance: {readonly: {enabled: false}}}`} {
		t.Setenv("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")
		c, _, err := Parse([]byte(storageYAML(file)))
		if err != nil || !c.ReadOnly() {
			t.Errorf("%s: read-only %v, %v", file, err == nil && c.ReadOnly(), err)
		}
	}
	t.Setenv("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "maybe")
	if _, _, err := Parse([]byte(storageYAML(`{inmemory: {}}`))); err == nil || !strings.Contains(err.Error(), "storage.maintenance.readonly.enabled") {
		t.Errorf("error %v, want the key", err)
	}
}

func TestTheFilesystemHasItsOwnDirectory(t *testing.T) {
	t.Setenv("REGISTRY_STORAGE", "filesystem")
	c, _, err := Parse([]byte(storageYAML(`{filesystem: {rootdirectory: /data}}`)))
	if err != nil {
		t.Fatal(err)
	}
	if _, parameters, _ := c.StorageParameters(); parameters["rootdirectory"] != "/registry" {
		t.Errorf("directory %v, want /registry", parameters["rootdirectory"])
	}
}
