//go:build component

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// TestMain is the operator when the test starts it as a process.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

// Behaviour operator 70, with fewer ServiceAccounts; `make bench-pullsecrets` runs it in full size.
func TestFillRestRestartAndAChangeOfHosts(t *testing.T) {
	o := options{accounts: 300, namespaces: 60, rest: 5 * time.Second, hosts: true}
	f, err := measure(t.Context(), o, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if f.restWrites != 0 || f.restartWrites != 0 {
		t.Errorf("%d writes at rest and %d after a restart, want none", f.restWrites, f.restartWrites)
	}
	// Four for each account, one RoleBinding for each namespace and a few for namespaces that were there.
	if most := 4*o.accounts + o.namespaces + 20; f.fillWrites > most {
		t.Errorf("%d writes to fill, want at most %d", f.fillWrites, most)
	}
	if most := 2*o.accounts + 10; f.hostWrites > most {
		t.Errorf("%d writes after a change of hosts, want at most %d", f.hostWrites, most)
	}
	if f.memory > 100*mebibyte {
		t.Errorf("%d MiB of memory", f.memory/mebibyte)
	}
}

// issued are all tokens that were ever seen in a Secret, each with its credential and the Secret's data in base64.
type issued map[string]struct{ auth, data string }

// follow takes in the tokens of all Secrets until ctx ends.
func (i issued) follow(ctx context.Context, c *cluster) error {
	watch, err := c.kube.CoreV1().Secrets("").Watch(ctx, metav1.ListOptions{LabelSelector: registryv1.ManagedPullSecretLabel})
	if err != nil {
		return err
	}
	defer watch.Stop()
	for event := range watch.ResultChan() {
		secret, ok := event.Object.(*corev1.Secret)
		if !ok {
			continue
		}
		var config struct {
			Auths map[string]struct{ Auth string }
		}
		if err := json.Unmarshal(secret.Data[corev1.DockerConfigJsonKey], &config); err != nil {
			return err
		}
		for _, entry := range config.Auths {
			text, err := base64.StdEncoding.DecodeString(entry.Auth)
			if err != nil {
				return err
			}
			if _, token, _ := strings.Cut(string(text), ":"); token != "" {
				i[token] = struct{ auth, data string }{entry.Auth, base64.StdEncoding.EncodeToString(secret.Data[corev1.DockerConfigJsonKey])}
			}
		}
	}
	return nil
}

// leaks names the parts of tokens that a text holds. The first part of a token is no secret: it names the key.
func (i issued) leaks(text string) (found []string) {
	for token, seen := range i {
		auth := seen.auth
		parts := strings.Split(token, ".")
		forms := map[string]string{
			"token": token, "auth": auth, "payload": parts[1], "signature": parts[2],
			"token in base64": base64.StdEncoding.EncodeToString([]byte(token)),
			"auth in base64":  base64.StdEncoding.EncodeToString([]byte(auth)),
			"part of auth":    auth[len(auth)/2 : len(auth)/2+40],
			"part of payload": parts[1][20:60],
			"part of data":    seen.data[300:340],
		}
		for form, value := range forms {
			if strings.Contains(text, value) {
				found = append(found, form)
			}
		}
	}
	return found
}

// Behaviour operator 73. The operator as a process, as verbose as it can be asked to be, through creation,
// refusals, tampering and removal.
func TestNoTokenIsToldAnywhere(t *testing.T) {
	t.Setenv(verbosityVariable, "8")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	t.Setenv(metricsVariable, address)
	c, err := startCluster(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.plane.Stop)
	ctx := t.Context()
	if err := c.install(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.populate(ctx, options{accounts: 12, namespaces: 4}); err != nil {
		t.Fatal(err)
	}
	tokens := issued{}
	following, stop := context.WithCancel(ctx)
	followed := make(chan error, 1)
	go func() { followed <- tokens.follow(following, c) }()
	process, err := startOperator(c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	running := true
	t.Cleanup(func() {
		if running {
			_ = process.stop()
		}
	})
	if err := c.configure(ctx, `{"managementState":"Managed","storage":{"emptyDir":{}},"operatorLogLevel":"TraceAll"}`); err != nil {
		t.Fatal(err)
	}
	refuseQuoting(t, c)
	c.waitForTokens(t, "team-00001", 3)
	// What is tampered with is written anew.
	_, err = c.kube.CoreV1().Secrets("team-00001").Patch(ctx, "app-0-registry-pull", types.MergePatchType,
		[]byte(`{"data":{".dockerconfigjson":"e30="}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.waitForTokens(t, "team-00001", 3)
	metrics := scrape(t, c, address)
	told := c.told(t)
	if err := c.configure(ctx, `{"imagePullSecret":{"managementState":"Removed"}}`); err != nil {
		t.Fatal(err)
	}
	err = poll(ctx, time.Minute, 200*time.Millisecond, func() (bool, error) {
		list, err := c.kube.CoreV1().Secrets("").List(ctx, metav1.ListOptions{LabelSelector: registryv1.ManagedPullSecretLabel})
		return err == nil && len(list.Items) == 0, err
	})
	if err != nil {
		t.Fatalf("the removal of the Secrets: %v", err)
	}
	told += c.told(t)
	stop()
	if err := <-followed; err != nil {
		t.Fatal(err)
	}
	if err := process.stop(); err != nil {
		t.Fatal(err)
	}
	running = false
	log := process.log.String()
	if len(tokens) < 10 || !strings.Contains(log, `"level":"debug"`) || !strings.Contains(metrics, "image_registry_operator_pull_secrets") {
		t.Fatalf("%d tokens, %d bytes of log, %d bytes of metrics: too little to prove anything", len(tokens), len(log), len(metrics))
	}
	if !strings.Contains(log, "is withheld") {
		t.Error("the refusal that quotes the token is not in the log: the test does not show that it is withheld")
	}
	for where, text := range map[string]string{"log": log, "metrics": metrics, "events, Config and other objects": told} {
		if found := tokens.leaks(text); len(found) > 0 {
			t.Errorf("%s: %q of a token", where, found)
		}
	}
}

// refuseQuoting makes the API server refuse tokens in one namespace, with words that repeat them.
func refuseQuoting(t *testing.T, c *cluster) {
	t.Helper()
	policy := []byte(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: quoting}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], resources: [secrets], operations: [UPDATE]}
  matchConditions:
  - {name: there, expression: "request.namespace == 'quoted'"}
  validations:
  - expression: "false"
    messageExpression: "'refused: ' + (size(string(object.data['.dockerconfigjson'])) > 2000 ? string(object.data['.dockerconfigjson']).substring(0, 2000) : string(object.data['.dockerconfigjson']))"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: quoting}
spec: {policyName: quoting, validationActions: [Deny]}
`)
	if err := c.create(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	_, err := c.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "quoted"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Data: map[string][]byte{".dockerconfigjson": []byte("x")}}
	if _, err := c.kube.CoreV1().Secrets("quoted").Create(t.Context(), probe, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	err = poll(t.Context(), time.Minute, 200*time.Millisecond, func() (bool, error) {
		_, err := c.kube.CoreV1().Secrets("quoted").Patch(t.Context(), "probe", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		return err != nil && strings.Contains(err.Error(), "refused: "), nil
	})
	if err != nil {
		t.Fatalf("the quoting policy: %v", err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "app"}}
	if _, err := c.kube.CoreV1().ServiceAccounts("quoted").Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// waitForTokens waits until the Secrets of a namespace hold credentials.
func (c *cluster) waitForTokens(t *testing.T, namespace string, count int) {
	t.Helper()
	err := poll(t.Context(), time.Minute, 200*time.Millisecond, func() (bool, error) {
		list, err := c.kube.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: registryv1.ManagedPullSecretLabel})
		if err != nil {
			return false, err
		}
		good := 0
		for i := range list.Items {
			if bytes.Contains(list.Items[i].Data[corev1.DockerConfigJsonKey], []byte("image-registry")) {
				good++
			}
		}
		return good == count, nil
	})
	if err != nil {
		t.Fatalf("credentials of namespace %s: %v", namespace, err)
	}
}

// told is everything but Secrets that the operator may have written something into.
func (c *cluster) told(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	events, err := c.kube.CoreV1().Events("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	maps, err := c.kube.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := c.kube.CoreV1().ServiceAccounts("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := c.registry.ImageregistryV1().Configs().Get(t.Context(), registryv1.SingletonName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range []any{events, maps, accounts, config} {
		data, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(data)
	}
	return out.String()
}

// scrape reads the metrics as a monitoring system does.
func scrape(t *testing.T, c *cluster, address string) string {
	t.Helper()
	ctx, kube := t.Context(), c.kube
	_, err := kube.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "scraper"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = kube.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "scraper"},
		Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = kube.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "scraper"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "scraper"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "scraper"}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := kube.CoreV1().ServiceAccounts("default").CreateToken(ctx, "scraper", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // the text is read, nothing is trusted
	var text string
	err = poll(ctx, time.Minute, 500*time.Millisecond, func() (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics", nil)
		if err != nil {
			return false, err
		}
		request.Header.Set("Authorization", "Bearer "+token.Status.Token)
		response, err := client.Do(request)
		if err != nil {
			text = fmt.Sprint(err)
			return false, nil
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		text = string(body)
		return response.StatusCode == http.StatusOK, err
	})
	if err != nil {
		t.Fatalf("metrics: %v: %s", err, text)
	}
	return text
}
