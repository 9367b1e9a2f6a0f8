//go:build component

package crd

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// Behaviour 1.
func TestOnlyOneNameIsAccepted(t *testing.T) {
	client := install(t)
	other := config(t, `{managementState: Removed}`)
	other.SetName("other")
	_, err := try(t, client, other)
	wantRefusal(t, err, "<nil>", "Config is a singleton and must be called cluster")

	otherPruner := pruner(t, `{}`)
	otherPruner.SetName("other")
	_, err = try(t, client, otherPruner)
	wantRefusal(t, err, "<nil>", "ImagePruner is a singleton and must be called cluster")
}

// Behaviours 2, 4, 5, 6, 7, 8.
func TestConfigRefusals(t *testing.T) {
	client := install(t)
	for _, tc := range []struct{ name, spec, field, words string }{
		{"management state missing", `{}`, "spec.managementState", "Required value"},
		{"management state Force", `{managementState: Force}`, "spec.managementState", `supported values: "Managed", "Unmanaged", "Removed"`},
		{"log level", `{managementState: Managed, logLevel: Loud}`, "spec.logLevel", `supported values: "", "Normal", "Debug", "Trace", "TraceAll"`},
		{"operator log level", `{managementState: Managed, operatorLogLevel: "4"}`, "spec.operatorLogLevel", "Unsupported value"},
		{"emptyDir with two replicas", `{managementState: Managed, replicas: 2, storage: {emptyDir: {}}}`, "spec", "replicas must be at most 1 with storage.emptyDir"},
		{"negative replicas", `{managementState: Managed, replicas: -1}`, "spec.replicas", "greater than or equal to 0"},
		{"too many replicas", `{managementState: Managed, replicas: 1001}`, "spec.replicas", "less than or equal to 1000"},
		{"replicas that are a text", `{managementState: Managed, replicas: "2"}`, "spec.replicas", "must be of type integer"},
		{"replicas beyond the type", `{managementState: Managed, replicas: 4294967297}`, "spec.replicas", "less than or equal to"},
		{"too many image API replicas", `{managementState: Managed, imageAPI: {replicas: 101}}`, "spec.imageAPI.replicas", "less than or equal to 100"},
		{"proxy of any length", `{managementState: Managed, proxy: {http: ` + strings.Repeat("p", 2049) + `}}`, "spec.proxy.http", "Too long"},
		{"exceptions of any length", `{managementState: Managed, proxy: {noProxy: ` + strings.Repeat("p", 32769) + `}}`, "spec.proxy.noProxy", "Too long"},
		{"ingress class", `{managementState: Managed, ingress: {className: "a b"}}`, "spec.ingress.className", "should match"},
		{"ingress class of a route", `{managementState: Managed, routes: [{name: a, ingressClassName: Nginx}]}`, "spec.routes[0].ingressClassName", "should match"},
		{"claim", `{managementState: Managed, storage: {pvc: {claim: Bad_Name}}}`, "spec.storage.pvc.claim", "should match"},
		{"claim of another namespace", `{managementState: Managed, storage: {pvc: {claim: ../other/claim}}}`, "spec.storage.pvc.claim", "should match"},
		{"class of the claim", `{managementState: Managed, storage: {pvc: {storageClassName: "fast\n"}}}`, "spec.storage.pvc.storageClassName", "should match"},
		{"access mode", `{managementState: Managed, storage: {pvc: {accessModes: [RWO]}}}`, "spec.storage.pvc.accessModes[0]", `supported values: "ReadWriteOnce"`},
		{"size in words", `{managementState: Managed, storage: {pvc: {size: 100 GB}}}`, "spec.storage.pvc.size", "should match"},
		{"region", `{managementState: Managed, storage: {s3: {bucket: b, region: ` + strings.Repeat("r", 64) + `}}}`, "spec.storage.s3.region", "Too long"},
		{"path in a bucket", `{managementState: Managed, storage: {s3: {bucket: b, region: r, rootDirectory: ` + strings.Repeat("a/", 513) + `}}}`, "spec.storage.s3.rootDirectory", "Too long"},
		{"issuer without audience", `{managementState: Managed, auth: {oidc: {issuerURL: "https://issuer"}}}`, "spec.auth.oidc", "clientID must be set with issuerURL"},
		{"issuer with an empty audience", `{managementState: Managed, auth: {oidc: {issuerURL: "https://issuer", clientID: ""}}}`, "spec.auth.oidc", "clientID must be set with issuerURL"},
		{"blank audience", `{managementState: Managed, auth: {oidc: {issuerURL: "https://issuer", clientID: " "}}}`, "spec.auth.oidc.clientID", "should match"},
		{"audience of two lines", `{managementState: Managed, auth: {oidc: {issuerURL: "https://issuer", clientID: "a\nb"}}}`, "spec.auth.oidc.clientID", "should match"},
		{"CA of the issuer", `{managementState: Managed, auth: {oidc: {caConfigMap: kube-system/ca}}}`, "spec.auth.oidc.caConfigMap", "should match"},
		{"claim with a blank", `{managementState: Managed, auth: {oidc: {usernameClaim: "e mail"}}}`, "spec.auth.oidc.usernameClaim", "should match"},
		{"claim of groups with a zero byte", `{managementState: Managed, auth: {oidc: {groupsClaim: "a\0b"}}}`, "spec.auth.oidc.groupsClaim", "should match"},
		{"names of Kubernetes itself", `{managementState: Managed, auth: {oidc: {usernamePrefix: "system:serviceaccount:a:"}}}`, "spec.auth.oidc.usernamePrefix", "must not begin with system:"},
		{"groups of Kubernetes itself", `{managementState: Managed, auth: {oidc: {groupsPrefix: "system:"}}}`, "spec.auth.oidc.groupsPrefix", "must not begin with system:"},
		{"prefix of two lines", `{managementState: Managed, auth: {oidc: {groupsPrefix: "a\nb"}}}`, "spec.auth.oidc.groupsPrefix", "should match"},
		{"seventeen members of an etcd", `{managementState: Managed, imageAPI: {storage: {type: Etcd, etcd: {endpoints: [` + strings.Repeat("a, ", 16) + `a]}}}}`, "spec.imageAPI.storage.etcd.endpoints", "Too many"},
		{"etcd without the type", `{managementState: Managed, imageAPI: {storage: {etcd: {secretName: etcd}}}}`, "spec.imageAPI.storage", "etcd is used with type Etcd only"},
		{"key of a bucket", `{managementState: Managed, storage: {gcs: {bucket: b, keyID: k}}}`, "spec.storage.gcs", "keyID is not supported"},
		{"Secret of the etcd", `{managementState: Managed, imageAPI: {storage: {type: Etcd, etcd: {secretName: Etcd}}}}`, "spec.imageAPI.storage.etcd.secretName", "should match"},
		{"registry without a name", `{managementState: Managed, imageAPI: {allowedRegistriesForImport: [{domainName: ""}]}}`, "spec.imageAPI.allowedRegistriesForImport[0].domainName", "at least 1"},
		{"Secret of a route", `{managementState: Managed, routes: [{name: a, secretName: ns/tls}]}`, "spec.routes[0].secretName", "should match"},
		{"route in unicode", `{managementState: Managed, routes: [{name: b\u00fccher}]}`, "spec.routes[0].name", "should match"},
		{"two backends", `{managementState: Managed, storage: {emptyDir: {}, pvc: {}}}`, "spec.storage", "set exactly one storage backend"},
		{"swift", `{managementState: Managed, storage: {swift: {}}}`, "spec.storage", "swift and oss are not supported; use s3 with regionEndpoint"},
		{"oss with fields", `{managementState: Managed, storage: {oss: {bucket: b}}}`, "spec.storage", "swift and oss are not supported"},
		{"storage management state", `{managementState: Managed, storage: {managementState: Removed}}`, "spec.storage.managementState", "Unsupported value"},
		{"chunk too small", `{managementState: Managed, storage: {s3: {chunkSizeMiB: 4}}}`, "spec.storage.s3.chunkSizeMiB", "greater than or equal to 5"},
		{"chunk too large", `{managementState: Managed, storage: {s3: {chunkSizeMiB: 5121}}}`, "spec.storage.s3.chunkSizeMiB", "less than or equal to 5120"},
		{"endpoint without scheme", `{managementState: Managed, storage: {s3: {regionEndpoint: "minio:9000"}}}`, "spec.storage.s3", "regionEndpoint must be a URL with scheme http or https"},
		{"endpoint host only", `{managementState: Managed, storage: {s3: {regionEndpoint: minio}}}`, "spec.storage.s3", "regionEndpoint must be a URL"},
		{"endpoint with query", `{managementState: Managed, storage: {s3: {regionEndpoint: "http://minio:9000?x=y"}}}`, "spec.storage.s3", "no query"},
		{"endpoint without host", `{managementState: Managed, storage: {s3: {regionEndpoint: "http:///bucket"}}}`, "spec.storage.s3", "a host"},
		{"endpoint of another scheme", `{managementState: Managed, storage: {s3: {regionEndpoint: "ftp://minio"}}}`, "spec.storage.s3", "http or https"},
		{"bucket too long", `{managementState: Managed, storage: {s3: {bucket: ` + strings.Repeat("b", 64) + `}}}`, "spec.storage.s3.bucket", "Too long"},
		{"trusted CA name", `{managementState: Managed, storage: {s3: {trustedCA: {name: Bad_Name}}}}`, "spec.storage.s3.trustedCA.name", "should match"},
		{"azure container", `{managementState: Managed, storage: {azure: {container: Ab}}}`, "spec.storage.azure.container", "Invalid value"},
		{"route without name", `{managementState: Managed, routes: [{hostname: a.example.com}]}`, "spec.routes[0].name", "Required value"},
		{"two routes of one name", `{managementState: Managed, routes: [{name: a}, {name: a}]}`, "spec.routes[1]", "Duplicate value"},
		{"two routes of one host", `{managementState: Managed, routes: [{name: a, hostname: r.example.com}, {name: b, hostname: r.example.com}]}`, "spec.routes", "two routes cannot share a hostname"},
		{"reserved route name", `{managementState: Managed, routes: [{name: default-route}]}`, "spec.routes[0]", "the name default-route is reserved"},
		{"route host in capitals", `{managementState: Managed, routes: [{name: a, hostname: R.example.com}]}`, "spec.routes[0].hostname", "should match"},
		{"host with scheme", `{managementState: Managed, imagePullSecret: {additionalRegistryHosts: ["https://x"]}}`, "spec.imagePullSecret.additionalRegistryHosts[0]", "should match"},
		{"host with path", `{managementState: Managed, imagePullSecret: {additionalRegistryHosts: ["x/y"]}}`, "spec.imagePullSecret.additionalRegistryHosts[0]", "should match"},
		{"host twice", `{managementState: Managed, imagePullSecret: {additionalRegistryHosts: [x, x]}}`, "spec.imagePullSecret.additionalRegistryHosts[1]", "Duplicate value"},
		{"ignored namespace", `{managementState: Managed, imagePullSecret: {ignoredNamespaces: ["a*"]}}`, "spec.imagePullSecret.ignoredNamespaces[0]", "should match"},
		{"token too short", `{managementState: Managed, imagePullSecret: {tokenExpirationSeconds: 599}}`, "spec.imagePullSecret.tokenExpirationSeconds", "greater than or equal to 600"},
		{"token too long", `{managementState: Managed, imagePullSecret: {tokenExpirationSeconds: 315360001}}`, "spec.imagePullSecret.tokenExpirationSeconds", "less than or equal to 315360000"},
		{"admission", `{managementState: Managed, imagePullSecret: {admission: Always}}`, "spec.imagePullSecret.admission", "Unsupported value"},
		{"wait", `{managementState: Managed, requests: {read: {maxWaitInQueue: soon}}}`, "spec.requests.read.maxWaitInQueue", "should match"},
		{"wait too long for the type", `{managementState: Managed, requests: {read: {maxWaitInQueue: 99999999999h}}}`, "spec.requests.read.maxWaitInQueue", "duration"},
		{"running", `{managementState: Managed, requests: {write: {maxRunning: -1}}}`, "spec.requests.write.maxRunning", "greater than or equal to 0"},
		{"rollout strategy", `{managementState: Managed, rolloutStrategy: Blue}`, "spec.rolloutStrategy", "should match"},
		{"issuer over plain HTTP", `{managementState: Managed, auth: {oidc: {issuerURL: "http://issuer"}}}`, "spec.auth.oidc.issuerURL", "should match"},
		{"no image API replicas", `{managementState: Managed, imageAPI: {replicas: 0}}`, "spec.imageAPI.replicas", "greater than or equal to 1"},
		{"import mode", `{managementState: Managed, imageAPI: {importMode: Some}}`, "spec.imageAPI.importMode", "Unsupported value"},
		{"image storage", `{managementState: Managed, imageAPI: {storage: {type: SQL}}}`, "spec.imageAPI.storage.type", "Unsupported value"},
		{"http secret", `{managementState: Managed, httpSecret: ` + strings.Repeat("s", 1025) + `}`, "spec.httpSecret", "Too long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := try(t, client, config(t, tc.spec))
			wantRefusal(t, err, tc.field, tc.words)
		})
	}
}

// Behaviours 6 and 10, and the settings that the documentation shows.
func TestConfigAcceptances(t *testing.T) {
	client := install(t)
	for _, spec := range []string{
		`{managementState: Managed, storage: {s3: {bucket: b, chunkSizeMiB: 5, regionEndpoint: "http://minio:9000"}}}`,
		`{managementState: Managed, storage: {s3: {bucket: b, chunkSizeMiB: 5120, regionEndpoint: "https://s3.example.com/path"}}}`,
		`{managementState: Managed, storage: {s3: {bucket: b, regionEndpoint: "", trustedCA: {name: ""}}}}`,
		`{managementState: Managed, storage: {emptyDir: {sizeLimit: 1Gi}}}`,
		`{managementState: Managed, storage: {pvc: {claim: c, size: 100Gi, accessModes: [ReadWriteMany]}}, replicas: 3}`,
		`{managementState: Removed, replicas: 0, logLevel: "", rolloutStrategy: ""}`,
		`{managementState: Managed, routes: [{name: a}, {name: b}, {name: c, hostname: r.example.com}]}`,
		`{managementState: Managed, imagePullSecret: {additionalRegistryHosts: ["r.example.com:5000", "10.0.0.1"], ignoredNamespaces: [kube-public]}}`,
		`{managementState: Managed, unsupportedConfigOverrides: {deployment: {annotations: {a: b}}, other: 1}, observedConfig: {servingInfo: {minTLSVersion: VersionTLS13}}}`,
		`{managementState: Managed, unsupportedConfigOverrides: null, observedConfig: null}`,
		`{managementState: Managed, imageAPI: {config: {imageImport: {workers: 7}}}}`,
		`{managementState: Managed, replicas: 1000, imageAPI: {replicas: 100}}`,
		`{managementState: Managed, auth: {oidc: {issuerURL: "https://login.example.com/realms/a", clientID: "my registry", caConfigMap: login-ca, usernameClaim: email, usernamePrefix: "-", groupsClaim: "https://example.com/groups", groupsPrefix: "oidc:"}}}`,
		`{managementState: Managed, auth: {oidc: {clientID: registry, usernamePrefix: "", groupsPrefix: sys}}}`,
		`{managementState: Managed, storage: {pvc: {claim: "", storageClassName: "", accessModes: [ReadWriteOncePod, ReadOnlyMany]}}, ingress: {className: ""}}`,
		`{managementState: Managed, requests: {read: {maxRunning: 10, maxInQueue: 20, maxWaitInQueue: 1m30s}}}`,
		`{managementState: Managed, resources: {limits: {cpu: 1}}, topologySpreadConstraints: [], affinity: {}}`,
	} {
		if _, err := try(t, client, config(t, spec)); err != nil {
			t.Errorf("%s: %v, want it accepted", spec, err)
		}
	}
	for _, pattern := range []string{"config-emptydir.yaml", "config-pvc.yaml", "imagepruner.yaml"} {
		for _, object := range read(t, "../../manifests/samples/"+pattern) {
			if _, err := try(t, client, object); err != nil {
				t.Errorf("sample %s: %v, want it accepted", pattern, err)
			}
		}
	}
}

// Behaviour 3.
func TestChangingTheStorageBackendNeedsNulls(t *testing.T) {
	client := install(t)
	resource := client.Resource(configs)
	if _, err := resource.Create(t.Context(), config(t, `{managementState: Managed, storage: {emptyDir: {}}}`), metav1.CreateOptions{}); err != nil {
		t.Fatalf("create: %v", err)
	}
	t.Cleanup(func() {
		if err := resource.Delete(context.Background(), "cluster", metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete: %v", err)
		}
	})

	_, err := resource.Patch(t.Context(), "cluster", types.MergePatchType, []byte(`{"spec":{"storage":{"pvc":{"claim":"c"}}}}`), metav1.PatchOptions{})
	wantRefusal(t, err, "spec.storage", `"cluster" is invalid: spec.storage: Invalid value`)
	wantRefusal(t, err, "spec.storage", "use null in a merge patch to clear the others")
	stored, err := resource.Get(t.Context(), "cluster", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, found, _ := unstructured.NestedMap(stored.Object, "spec", "storage", "pvc"); found {
		t.Errorf("the refused patch was stored: %s", pretty(stored))
	}

	changed, err := resource.Patch(t.Context(), "cluster", types.MergePatchType, []byte(`{"spec":{"storage":{"emptyDir":null,"pvc":{"claim":"c"}}}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatalf("patch with null: %v", err)
	}
	if claim, _, _ := unstructured.NestedString(changed.Object, "spec", "storage", "pvc", "claim"); claim != "c" {
		t.Errorf("claim is %q, want c", claim)
	}
}

// Behaviour 9.
func TestConfigDefaults(t *testing.T) {
	client := install(t)
	object, err := try(t, client, config(t, `{managementState: Removed}`))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{
		"logLevel":                               "Normal",
		"operatorLogLevel":                       "Normal",
		"replicas":                               int64(1),
		"requests.read.maxRunning":               int64(0),
		"requests.write.maxWaitInQueue":          "0s",
		"imagePullSecret.managementState":        "Managed",
		"imagePullSecret.ignoreSystemNamespaces": true,
		"imagePullSecret.grantNamespacePull":     true,
		"imagePullSecret.tokenExpirationSeconds": int64(86400),
		"imagePullSecret.tokenAudience":          "image-registry.alauda.io",
		"imagePullSecret.admission":              "Auto",
		"imageAPI.replicas":                      int64(2),
		"imageAPI.importMode":                    "PreserveOriginal",
		"imageAPI.imageLookup":                   true,
		"imageAPI.storage.type":                  "CRD",
	} {
		got, _, err := unstructured.NestedFieldNoCopy(object.Object, append([]string{"spec"}, strings.Split(path, ".")...)...)
		if err != nil || got != want {
			t.Errorf("default of spec.%s is %v (%v), want %v", path, got, err, want)
		}
	}
	for _, absent := range []string{"rolloutStrategy", "resources", "routes"} {
		if value, found, _ := unstructured.NestedFieldNoCopy(object.Object, "spec", absent); found {
			t.Errorf("spec.%s has the default %v, want none", absent, value)
		}
	}
	if storage, found, _ := unstructured.NestedMap(object.Object, "spec", "storage"); !found || len(storage) != 0 {
		t.Errorf("spec.storage is %v, want an empty object", storage)
	}
}

// An empty audience means tokens of the API server's own audience, so it must
// not turn into the default again.
func TestAnExplicitEmptyAudienceStays(t *testing.T) {
	client := install(t)
	object, err := try(t, client, config(t, `{managementState: Managed, imagePullSecret: {tokenAudience: "", ignoreSystemNamespaces: false}}`))
	if err != nil {
		t.Fatal(err)
	}
	if audience, found, _ := unstructured.NestedString(object.Object, "spec", "imagePullSecret", "tokenAudience"); !found || audience != "" {
		t.Errorf("tokenAudience is %q (found %v), want the empty string", audience, found)
	}
	if ignore, found, _ := unstructured.NestedBool(object.Object, "spec", "imagePullSecret", "ignoreSystemNamespaces"); !found || ignore {
		t.Errorf("ignoreSystemNamespaces is %v (found %v), want false", ignore, found)
	}
}
