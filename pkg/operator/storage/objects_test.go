package storage

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	corev1 "k8s.io/api/core/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/test/selfsigned"
)

func value(env []corev1.EnvVar, name string) string {
	for _, variable := range env {
		if variable.Name == name {
			return variable.Value
		}
	}
	return "(absent)"
}

func reasonOf(err error) string {
	var permanent *fault.Permanent
	if errors.As(err, &permanent) {
		return permanent.Reason
	}
	return ""
}

func s3(change func(*registryv1.S3Storage)) *registryv1.Config {
	store := &registryv1.S3Storage{Bucket: "images", Region: "eu-west-1"}
	if change != nil {
		change(store)
	}
	return &registryv1.Config{Spec: registryv1.ConfigSpec{Storage: registryv1.StorageSpec{S3: store}}}
}

var keys = map[string][]byte{KeyS3Access: []byte("AKIA"), KeyS3Secret: []byte("secret")}

// Behaviour 51.
func TestS3Environment(t *testing.T) {
	const absent = "(absent)"
	type expected struct{ region, endpoint, path, encrypt, key, chunk, root string }
	for name, test := range map[string]struct {
		change func(*registryv1.S3Storage)
		want   expected
	}{
		"provider's own":        {nil, expected{"eu-west-1", absent, "false", "false", absent, absent, absent}},
		"endpoint, no region":   {func(s *registryv1.S3Storage) { s.Region, s.RegionEndpoint = "", "https://s3:9000" }, expected{"us-east-1", "https://s3:9000", "true", "false", absent, absent, absent}},
		"endpoint and region":   {func(s *registryv1.S3Storage) { s.RegionEndpoint = "http://s3" }, expected{"eu-west-1", "http://s3", "true", "false", absent, absent, absent}},
		"virtual hosts":         {func(s *registryv1.S3Storage) { s.RegionEndpoint, s.VirtualHostedStyle = "http://s3", true }, expected{"eu-west-1", "http://s3", "false", "false", absent, absent, absent}},
		"virtual hosts, theirs": {func(s *registryv1.S3Storage) { s.VirtualHostedStyle = true }, expected{"eu-west-1", absent, "false", "false", absent, absent, absent}},
		"smallest chunk":        {func(s *registryv1.S3Storage) { s.ChunkSizeMiB = 5 }, expected{"eu-west-1", absent, "false", "false", absent, "5242880", absent}},
		"largest chunk":         {func(s *registryv1.S3Storage) { s.ChunkSizeMiB = 5120 }, expected{"eu-west-1", absent, "false", "false", absent, "5368709120", absent}},
		"encrypted":             {func(s *registryv1.S3Storage) { s.Encrypt, s.KeyID = true, "0123" }, expected{"eu-west-1", absent, "false", "true", `"0123"`, absent, absent}},
		"a key without use":     {func(s *registryv1.S3Storage) { s.KeyID = "k" }, expected{"eu-west-1", absent, "false", "false", absent, absent, absent}},
		"directory":             {func(s *registryv1.S3Storage) { s.RootDirectory = "/a/b/" }, expected{"eu-west-1", absent, "false", "false", absent, absent, "a/b"}},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := Decide(s3(test.change), Facts{User: keys})
			if err != nil {
				t.Fatal(err)
			}
			get := func(name string) string { return value(plan.Env, "REGISTRY_STORAGE_S3_"+name) }
			got := expected{get("REGION"), get("REGIONENDPOINT"), get("FORCEPATHSTYLE"), get("ENCRYPT"), get("KEYID"), get("CHUNKSIZE"), get("ROOTDIRECTORY")}
			if got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
			if value(plan.Env, "REGISTRY_STORAGE") != "s3" || get("BUCKET") != "images" || value(plan.Env, "AWS_SHARED_CREDENTIALS_FILE") != "/var/run/secrets/cloud/credentials" {
				t.Errorf("environment %v", plan.Env)
			}
			if plan.Effective.ManagementState != registryv1.Unmanaged || plan.Volume != nil || plan.Strategy != RollingUpdate {
				t.Errorf("plan %+v", plan)
			}
			if plan.Effective.S3.Region == "" || plan.Effective.S3.ChunkSizeMiB == 0 {
				t.Errorf("effective storage has holes: %+v", plan.Effective.S3)
			}
			for _, variable := range plan.Env {
				if strings.Contains(variable.Name, "SKIPVERIFY") || strings.Contains(variable.Value, "secret") && !strings.HasPrefix(variable.Value, CloudPath) {
					t.Errorf("variable %+v", variable)
				}
			}
		})
	}
}

// Behaviours 47, 48 and 51.
func TestRefusedObjectStores(t *testing.T) {
	managed := s3(func(s *registryv1.S3Storage) { s.Bucket = "" })
	managed.Spec.Storage.ManagementState = registryv1.Managed
	gcs := &registryv1.Config{Spec: registryv1.ConfigSpec{Storage: registryv1.StorageSpec{GCS: &registryv1.GCSStorage{}}}}
	azure := func(a registryv1.AzureStorage) *registryv1.Config {
		return &registryv1.Config{Spec: registryv1.ConfigSpec{Storage: registryv1.StorageSpec{Azure: &a}}}
	}
	both := s3(nil)
	both.Spec.Storage.GCS = &registryv1.GCSStorage{Bucket: "b"}
	for name, test := range map[string]struct {
		config *registryv1.Config
		facts  Facts
		reason string
		names  string
	}{
		"no bucket":           {s3(func(s *registryv1.S3Storage) { s.Bucket = "" }), Facts{User: keys}, registryv1.ReasonInvalidStorageConfiguration, "spec.storage.s3.bucket"},
		"no bucket, Managed":  {managed, Facts{User: keys}, registryv1.ReasonInvalidStorageConfiguration, "spec.storage.s3.bucket"},
		"bucket with a path":  {s3(func(s *registryv1.S3Storage) { s.Bucket = "a/b" }), Facts{User: keys}, registryv1.ReasonInvalidStorageConfiguration, "spec.storage.s3.bucket"},
		"no region":           {s3(func(s *registryv1.S3Storage) { s.Region = "" }), Facts{User: keys}, registryv1.ReasonInvalidStorageConfiguration, "spec.storage.s3.region"},
		"password in the URL": {s3(func(s *registryv1.S3Storage) { s.RegionEndpoint = "https://me:hidden@s3" }), Facts{User: keys}, registryv1.ReasonInvalidStorageConfiguration, "regionEndpoint"},
		"directory upwards":   {s3(func(s *registryv1.S3Storage) { s.RootDirectory = "a/../b" }), Facts{User: keys}, registryv1.ReasonInvalidStorageConfiguration, "rootDirectory"},
		"cloudFront":          {s3(func(s *registryv1.S3Storage) { s.CloudFront = &registryv1.CloudFrontSpec{} }), Facts{User: keys}, registryv1.ReasonUnsupportedStorage, "cloudFront"},
		"secret key missing":  {s3(nil), Facts{User: map[string][]byte{KeyS3Access: []byte("hidden")}}, registryv1.ReasonStorageCredentialsNotFound, KeyS3Secret},
		"access key missing":  {s3(nil), Facts{User: map[string][]byte{KeyS3Secret: []byte("hidden")}}, registryv1.ReasonStorageCredentialsNotFound, KeyS3Access},
		"two lines":           {s3(nil), Facts{User: map[string][]byte{KeyS3Access: []byte("hidden"), KeyS3Secret: []byte("hidden\n[other]\nx = y")}}, registryv1.ReasonInvalidStorageConfiguration, KeyS3Secret},
		"CA is not there":     {s3(func(s *registryv1.S3Storage) { s.TrustedCA.Name = "ca" }), Facts{User: keys}, registryv1.ReasonTrustedCANotFound, "ConfigMap ca"},
		"CA under two names":  {s3(func(s *registryv1.S3Storage) { s.TrustedCA.Name = "ca" }), Facts{User: keys, StorageCA: map[string]string{"a": "x", "b": "y"}}, registryv1.ReasonTrustedCANotFound, "ca-bundle.crt"},
		"CA is no PEM":        {s3(func(s *registryv1.S3Storage) { s.TrustedCA.Name = "ca" }), Facts{User: keys, StorageCA: map[string]string{"ca.crt": "hidden"}}, registryv1.ReasonTrustedCANotFound, "PEM"},
		"gcs without bucket":  {gcs, Facts{}, registryv1.ReasonInvalidStorageConfiguration, "spec.storage.gcs.bucket"},
		"azure, no container": {azure(registryv1.AzureStorage{AccountName: "a"}), Facts{}, registryv1.ReasonInvalidStorageConfiguration, "container"},
		"azure, other cloud":  {azure(registryv1.AzureStorage{AccountName: "a", Container: "abc", CloudName: "Mine"}), Facts{}, registryv1.ReasonInvalidStorageConfiguration, "cloudName"},
		"azure, other host":   {azure(registryv1.AzureStorage{AccountName: "evil.example/", Container: "abc"}), Facts{}, registryv1.ReasonInvalidStorageConfiguration, "accountName"},
		"a program":           {s3(nil), Facts{User: map[string][]byte{KeyCredentials: []byte("[default]\nCredential_Process : sh -c hidden\n")}}, registryv1.ReasonInvalidStorageConfiguration, "credential_process"},
		"a token of the Pod":  {s3(nil), Facts{User: map[string][]byte{KeyCredentials: []byte("[default]\nrole_arn = r\nweb_identity_token_file = /hidden\n")}}, registryv1.ReasonInvalidStorageConfiguration, "web_identity_token_file"},
		"header in region":    {s3(func(s *registryv1.S3Storage) { s.Region = "a\r\nhidden: b" }), Facts{User: keys}, registryv1.ReasonInvalidStorageConfiguration, "spec.storage.s3.region"},
		"header in key":       {s3(func(s *registryv1.S3Storage) { s.KeyID = "a\r\nhidden: b" }), Facts{User: keys}, registryv1.ReasonInvalidStorageConfiguration, "spec.storage.s3.keyID"},
		"header in bucket":    {s3(func(s *registryv1.S3Storage) { s.Bucket = "a\r\nhidden: b" }), Facts{User: keys}, registryv1.ReasonInvalidStorageConfiguration, "spec.storage.s3.bucket"},
		"metadata service":    {s3(func(s *registryv1.S3Storage) { s.RegionEndpoint = "http://169.254.169.254" }), Facts{User: keys}, registryv1.ReasonInvalidStorageConfiguration, "regionEndpoint"},
		"the same, mapped":    {s3(func(s *registryv1.S3Storage) { s.RegionEndpoint = "http://[::ffff:169.254.169.254]:80" }), Facts{User: keys}, registryv1.ReasonInvalidStorageConfiguration, "regionEndpoint"},
		"a huge CA":           {s3(func(s *registryv1.S3Storage) { s.TrustedCA.Name = "ca" }), Facts{User: keys, StorageCA: map[string]string{"ca.crt": strings.Repeat("x", maxBundle+1)}}, registryv1.ReasonTrustedCANotFound, "KiB"},
		"azure, a path":       {azure(registryv1.AzureStorage{AccountName: "a", Container: "../abc"}), Facts{}, registryv1.ReasonInvalidStorageConfiguration, "container"},
		"two":                 {both, Facts{}, registryv1.ReasonMultipleStoragesConfigured, "s3 and gcs"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decide(test.config, test.facts)
			if got := reasonOf(err); got != test.reason {
				t.Fatalf("reason %q, want %q (%v)", got, test.reason, err)
			}
			if !strings.Contains(err.Error(), test.names) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("message %q names %q: %t", err, test.names, strings.Contains(err.Error(), test.names))
			}
		})
	}
}

// Behaviour 46: which key of the ConfigMap is the CA.
func TestTheCAOfAStore(t *testing.T) {
	one, other := authority(t, 1), authority(t, 2)
	for name, data := range map[string]map[string]string{
		"ca-bundle.crt first": {"ca-bundle.crt": one, "ca.crt": other, "x": other},
		"then ca.crt":         {"ca.crt": one, "x": other},
		"then the only one":   {"x.pem": one},
	} {
		plan, err := Decide(s3(func(s *registryv1.S3Storage) { s.TrustedCA.Name = "ca" }), Facts{User: keys, StorageCA: data})
		if err != nil || plan.Object.Bundle != one {
			t.Errorf("%s: %v, plan %+v", name, err, plan)
		}
	}
}

func TestOtherObjectStores(t *testing.T) {
	gcs := &registryv1.Config{Spec: registryv1.ConfigSpec{Storage: registryv1.StorageSpec{GCS: &registryv1.GCSStorage{Bucket: "123456", RootDirectory: "/r"}}}}
	plan, err := Decide(gcs, Facts{User: map[string][]byte{KeyGCSFile: []byte(`{"type":"service_account"}`)}})
	if err != nil || value(plan.Env, "REGISTRY_STORAGE_GCS_BUCKET") != `"123456"` || value(plan.Env, KeyGCSFile) != "/var/run/secrets/cloud/"+KeyGCSFile ||
		value(plan.Env, "REGISTRY_STORAGE_GCS_ROOTDIRECTORY") != "r" || string(plan.Object.Private[KeyGCSFile]) != `{"type":"service_account"}` {
		t.Errorf("gcs: %v %+v", err, plan)
	}
	if plan, err = Decide(gcs, Facts{}); err != nil || value(plan.Env, KeyGCSFile) != "(absent)" || !plan.Object.Ambient {
		t.Errorf("gcs with workload identity: %v %+v", err, plan)
	}
	for cloud, realm := range map[string]string{"": "core.windows.net", "AzureUSGovernmentCloud": "core.usgovcloudapi.net", "AzureChinaCloud": "core.chinacloudapi.cn"} {
		azure := &registryv1.Config{Spec: registryv1.ConfigSpec{Storage: registryv1.StorageSpec{Azure: &registryv1.AzureStorage{AccountName: "acc", Container: "images", CloudName: cloud}}}}
		plan, err := Decide(azure, Facts{User: map[string][]byte{KeyAzureAccount: []byte("0123\n")}})
		if err != nil || value(plan.Env, "REGISTRY_STORAGE_AZURE_REALM") != realm || value(plan.Env, "REGISTRY_STORAGE_AZURE_CREDENTIALS") != "{type: shared_key}" ||
			string(plan.Object.Private[KeyAzureAccount]) != `"0123"` {
			t.Errorf("azure %q: %v %+v", cloud, err, plan)
		}
		if plan, err = Decide(azure, Facts{}); err != nil || value(plan.Env, "REGISTRY_STORAGE_AZURE_CREDENTIALS") != "{type: default_credentials}" || !plan.Object.Ambient {
			t.Errorf("azure with workload identity: %v %+v", err, plan)
		}
	}
}

func TestIdentityNamesThePlace(t *testing.T) {
	spec := func(change func(*registryv1.S3Storage)) *registryv1.StorageSpec { return &s3(change).Spec.Storage }
	same := Identity(spec(func(s *registryv1.S3Storage) { s.RegionEndpoint, s.RootDirectory = "https://s3/", "/r/" }))
	if other := Identity(spec(func(s *registryv1.S3Storage) {
		s.RegionEndpoint, s.RootDirectory, s.ChunkSizeMiB = "https://s3", "r", 7
	})); other != same {
		t.Errorf("%q is the same place as %q", other, same)
	}
	seen := map[string]bool{}
	for _, place := range []*registryv1.StorageSpec{
		spec(nil), spec(func(s *registryv1.S3Storage) { s.Bucket = "b" }), spec(func(s *registryv1.S3Storage) { s.Region = "r" }), spec(func(s *registryv1.S3Storage) { s.RootDirectory = "r" }),
		{GCS: &registryv1.GCSStorage{Bucket: "images"}}, {Azure: &registryv1.AzureStorage{AccountName: "a", Container: "images"}}, {Azure: &registryv1.AzureStorage{AccountName: "b", Container: "images"}},
		{PVC: &registryv1.PVCStorage{Claim: "images"}}, {EmptyDir: &registryv1.EmptyDirStorage{}},
	} {
		id := Identity(place)
		if id == "" || seen[id] {
			t.Errorf("identity %q is empty or not unique", id)
		}
		seen[id] = true
	}
}

// Behaviour 49: what looks like something else in YAML stays what it is, in variables as distribution reads them.
func TestValuesReachTheRegistryUnchanged(t *testing.T) {
	for _, text := range []string{"0123", "1e5", "true", "a:b", "null", "~", "*x", "@x", "yes", "a: b", "x #y", "'q", `"q"`, "2001-01-01", "0x1F", "1_000", "é\u0085", "{a: b}", "[", "!t", "%", " lead", "12:30:45"} {
		t.Setenv("REGISTRY_STORAGE", "azure")
		t.Setenv("REGISTRY_STORAGE_AZURE_ACCOUNTKEY", Scalar(text))
		config, err := configuration.Parse(strings.NewReader("version: 0.1\nstorage: {inmemory: {}}\n"))
		if err != nil {
			t.Errorf("%q as %q: %v", text, os.Getenv("REGISTRY_STORAGE_AZURE_ACCOUNTKEY"), err)
			continue
		}
		if got := config.Storage.Parameters()["accountkey"]; got != text {
			t.Errorf("%q arrives as %#v", text, got)
		}
	}
}

func FuzzProfileIsOneProfile(f *testing.F) {
	f.Add("AKIA", "s3cret/+=")
	f.Add("0123", " x")
	f.Add("a", "b\n[default]\naws_access_key_id = c")
	f.Fuzz(func(t *testing.T, access, secret string) {
		file, err := profile(access, secret)
		if err != nil {
			return
		}
		lines := strings.Split(strings.ReplaceAll(string(file), `"`, ""), "\n")
		bare := func(value string) string { return strings.ReplaceAll(value, `"`, "") }
		if want := []string{"[default]", "aws_access_key_id = " + bare(access), "aws_secret_access_key = " + bare(secret), ""}; !slices.Equal(lines, want) {
			t.Errorf("%q", lines)
		}
	})
}

func authority(t *testing.T, serial int64) string {
	t.Helper()
	certificate, _, err := selfsigned.Issue(serial)
	if err != nil {
		t.Fatal(err)
	}
	return string(certificate)
}
