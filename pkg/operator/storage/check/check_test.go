package check

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/storage/preflight"
)

// faulty is a storage in memory that fails at one operation.
type faulty struct {
	driver.StorageDriver
	at  string
	err error
}

func (f *faulty) fails(operation string) error {
	if f.at == operation {
		return driver.Error{DriverName: "test", Detail: f.err}
	}
	return nil
}

func (f *faulty) PutContent(ctx context.Context, path string, content []byte) error {
	if err := f.fails("put"); err != nil {
		return err
	}
	return f.StorageDriver.PutContent(ctx, path, content)
}

func (f *faulty) GetContent(ctx context.Context, path string) ([]byte, error) {
	if err := f.fails("get"); err != nil {
		return nil, err
	}
	if f.at == "garble" {
		return []byte("other"), nil
	}
	return f.StorageDriver.GetContent(ctx, path)
}

func (f *faulty) List(ctx context.Context, path string) ([]string, error) {
	if err := f.fails("list"); err != nil {
		return nil, err
	}
	return f.StorageDriver.List(ctx, path)
}

func (f *faulty) Writer(ctx context.Context, path string, appending bool) (driver.FileWriter, error) {
	if err := f.fails("writer"); err != nil {
		return nil, err
	}
	return f.StorageDriver.Writer(ctx, path, appending)
}

func (f *faulty) Delete(ctx context.Context, path string) error {
	if err := f.fails("delete"); err != nil {
		f.at = "" // the second attempt succeeds
		return err
	}
	return f.StorageDriver.Delete(ctx, path)
}

func options() Options {
	return Options{Timeout: 30 * time.Second, Now: func() time.Time { return time.Unix(1700000000, 0) }}
}

// Behaviour 50: each step has its name, and nothing is left.
func TestEachStepIsNamedAndNothingIsLeft(t *testing.T) {
	for at, step := range map[string]string{
		"": "", "put": preflight.StepWrite, "get": preflight.StepRead, "garble": preflight.StepRead, "list": preflight.StepList,
		"writer": preflight.StepMultipart, "delete": preflight.StepDelete,
	} {
		t.Run(at, func(t *testing.T) {
			storage := inmemory.New()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			result := Driver(ctx, &faulty{StorageDriver: storage, at: at, err: errors.New("says the test")}, options())
			if result.OK != (at == "") || result.Step != step {
				t.Errorf("result %+v, want step %q", result, step)
			}
			if at != "" && result.Reason != registryv1.ReasonStoragePreflightFailed {
				t.Errorf("reason %q", result.Reason)
			}
			if left, err := storage.List(ctx, root); err == nil && len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestOldLeftoversAreRemovedAndOthersStay(t *testing.T) {
	storage, ctx := inmemory.New(), t.Context()
	const old, young, foreign = root + "/6553f000-x/object", root + "/6553f0ff-x/object", root + "/mine/object"
	for _, path := range []string{old, young, foreign, "/docker/registry/v2/blobs/x"} {
		if err := storage.PutContent(ctx, path, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	o := options()
	o.Now = func() time.Time { return time.Unix(0x6553f0ff, 0).Add(abandoned - time.Second) }
	if result := Driver(ctx, storage, o); !result.OK {
		t.Fatalf("%+v", result)
	}
	for path, stays := range map[string]bool{old: false, young: true, foreign: true, "/docker/registry/v2/blobs/x": true} {
		if _, err := storage.Stat(ctx, path); (err == nil) != stays {
			t.Errorf("%s stays: %t", path, err == nil)
		}
	}
}

func TestListOnlyWritesNothing(t *testing.T) {
	storage := inmemory.New()
	o := options()
	o.ListOnly = true
	if result := Driver(t.Context(), &faulty{StorageDriver: storage, at: "put"}, o); !result.OK {
		t.Errorf("%+v", result)
	}
}

// s3At sets the environment of a registry with a store at an address.
func s3At(t *testing.T, url string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("[default]\naws_access_key_id = AKIA\naws_secret_access_key = hidden-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"REGISTRY_STORAGE": "s3", "REGISTRY_STORAGE_S3_BUCKET": `"123456"`, "REGISTRY_STORAGE_S3_REGION": "us-east-1", "REGISTRY_STORAGE_S3_REGIONENDPOINT": url,
		"REGISTRY_STORAGE_S3_FORCEPATHSTYLE": "true", "AWS_SHARED_CREDENTIALS_FILE": file, "AWS_SDK_LOAD_CONFIG": "true", "AWS_CONFIG_FILE": "/nonexistent",
	} {
		t.Setenv(name, value)
	}
}

// Behaviours 47, 48 and 50: what the providers say, through the real drivers.
func TestAnswersOfS3(t *testing.T) {
	for name, test := range map[string]struct {
		status       int
		code         string
		reason, text string
	}{
		"bucket":    {404, "NoSuchBucket", registryv1.ReasonBucketNotFound, "says the test"},
		"access":    {403, "AccessDenied", registryv1.ReasonStorageAccessDenied, "says the test"},
		"key":       {403, "InvalidAccessKeyId", registryv1.ReasonStorageAccessDenied, "says the test"},
		"signature": {403, "SignatureDoesNotMatch", registryv1.ReasonStorageAccessDenied, "says the test"},
		"bare 403":  {403, "Whatever", registryv1.ReasonStorageAccessDenied, "says the test"},
		"region":    {400, "AuthorizationHeaderMalformed", registryv1.ReasonInvalidStorageConfiguration, "says the test"},
		"moved":     {301, "PermanentRedirect", registryv1.ReasonInvalidStorageConfiguration, "region"},
		"full":      {507, "XMinioStorageFull", registryv1.ReasonStoragePreflightFailed, "says the test"},
		"other":     {400, "InvalidRequest", registryv1.ReasonStoragePreflightFailed, "says the test"},
		"down":      {503, "ServiceUnavailable", "", "says the test"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/xml")
				w.Header().Set("x-amz-request-id", time.Now().String())
				w.WriteHeader(test.status)
				_ = xml.NewEncoder(w).Encode(struct {
					XMLName       xml.Name `xml:"Error"`
					Code, Message string
				}{Code: test.code, Message: "says the test"})
			}))
			defer server.Close()
			s3At(t, server.URL)
			o := options()
			o.ListOnly = test.status == 503 // the client repeats it three times
			result := FromEnvironment(t.Context(), o)
			if result.OK || result.Reason != test.reason || !strings.Contains(result.Text, test.text) || strings.Contains(result.Sentence(), "hidden-key") || strings.Contains(result.Text, "request id") {
				t.Errorf("%+v", result)
			}
		})
	}
}

// An endpoint may be any server that the operator reaches. What it answers is shown to nobody.
func TestAnswersOfOthersAreNotShown(t *testing.T) {
	for status, reason := range map[int]string{200: registryv1.ReasonStoragePreflightFailed, 400: registryv1.ReasonStoragePreflightFailed, 404: registryv1.ReasonStoragePreflightFailed} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<!DOCTYPE html> internal-word < & %zz")
		}))
		s3At(t, server.URL)
		o := options()
		o.ListOnly = true
		result := FromEnvironment(t.Context(), o)
		hex := "69 6e 74 65 72" // "inter" in a dump
		if result.OK || result.Reason != reason || strings.Contains(result.Sentence(), "internal") || strings.Contains(result.Sentence(), hex) {
			t.Errorf("status %d: %+v", status, result)
		}
		server.Close()
	}
	token := failure(t.Context(), preflight.StepOpen, errors.New("oauth2: cannot fetch token: 400 Bad Request\nResponse: internal-word"), time.Second)
	body := failure(t.Context(), preflight.StepList, errors.New("googleapi: got HTTP response code 404 with body: internal-word"), time.Second)
	for _, result := range []preflight.Result{token, body} {
		if strings.Contains(result.Text, "internal") {
			t.Errorf("%+v", result)
		}
	}
}

// Behaviours 47, 48 and 50.
func TestFaultsOnTheWay(t *testing.T) {
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server see that the client leaves
		<-r.Context().Done()
	}))
	defer hanging.Close()
	defer hanging.CloseClientConnections()
	private := httptest.NewTLSServer(http.NotFoundHandler())
	defer private.Close()
	private.Config.ErrorLog = nil
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	for name, test := range map[string]struct{ url, reason, text string }{
		"nobody listens": {"http://" + closed, "", "connection refused"},
		"no answer":      {hanging.URL, "", "did not answer within 2s"},
		"unknown CA":     {private.URL, registryv1.ReasonStoragePreflightFailed, "x509: "},
		"no TLS":         {"https" + strings.TrimPrefix(hanging.URL, "http"), registryv1.ReasonInvalidStorageConfiguration, "HTTPS"},
	} {
		t.Run(name, func(t *testing.T) {
			s3At(t, test.url)
			o := options()
			if name == "no answer" {
				o.Timeout = 2 * time.Second
			}
			result := FromEnvironment(t.Context(), o)
			if result.OK || result.Reason != test.reason || !strings.Contains(result.Text, test.text) {
				t.Errorf("%+v", result)
			}
		})
	}
}

func TestWithoutCredentials(t *testing.T) {
	s3At(t, "http://127.0.0.1:1")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	if result := FromEnvironment(t.Context(), options()); result.Reason != registryv1.ReasonStorageCredentialsNotFound {
		t.Errorf("%+v", result)
	}
}

func TestAnswersOfAzure(t *testing.T) {
	for code, want := range map[string]struct {
		status int
		reason string
	}{
		"ContainerNotFound": {404, registryv1.ReasonBucketNotFound}, "AuthenticationFailed": {403, registryv1.ReasonStorageAccessDenied},
		"InvalidHeaderValue": {400, registryv1.ReasonStoragePreflightFailed},
	} {
		t.Run(code, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("x-ms-error-code", code)
				w.WriteHeader(want.status)
			}))
			defer server.Close()
			for name, value := range map[string]string{
				"REGISTRY_STORAGE": "azure", "REGISTRY_STORAGE_AZURE_ACCOUNTNAME": "account", "REGISTRY_STORAGE_AZURE_CONTAINER": "images",
				"REGISTRY_STORAGE_AZURE_CREDENTIALS": "{type: shared_key}", "REGISTRY_STORAGE_AZURE_ACCOUNTKEY": "aGlkZGVuLWtleQ==",
				"REGISTRY_STORAGE_AZURE_SERVICEURL": server.URL,
			} {
				t.Setenv(name, value)
			}
			result := FromEnvironment(t.Context(), options())
			if result.Reason != want.reason || result.Code != code || strings.Contains(result.Text, "aGlkZGVu") {
				t.Errorf("%+v", result)
			}
		})
	}
}

func TestAnswersOfGCS(t *testing.T) {
	for reason, answer := range map[string]struct {
		status int
		text   string
	}{
		registryv1.ReasonBucketNotFound:      {404, "The specified bucket does not exist."},
		registryv1.ReasonStorageAccessDenied: {403, "account does not have storage.objects.create access"},
	} {
		t.Run(reason, func(t *testing.T) {
			result := failure(t.Context(), preflight.StepWrite, driver.Error{DriverName: "gcs", Detail: fmt.Errorf("googleapi: Error %d: %s, x\nmore", answer.status, answer.text)}, time.Second)
			if result.Reason != reason || !strings.Contains(result.Text, answer.text) || strings.Contains(result.Text, "more") {
				t.Errorf("%+v", result)
			}
		})
	}
	t.Setenv("REGISTRY_STORAGE", "gcs")
	t.Setenv("REGISTRY_STORAGE_GCS_BUCKET", "images")
	t.Setenv("REGISTRY_STORAGE_GCS_KEYFILE", filepath.Join(t.TempDir(), "nothing"))
	if result := FromEnvironment(t.Context(), options()); result.Step != preflight.StepOpen || result.Reason != registryv1.ReasonInvalidStorageConfiguration {
		t.Errorf("without key file: %+v", result)
	}
}
