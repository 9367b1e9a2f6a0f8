//go:build component

package operator

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/test/selfsigned"
)

const defaultHost = "default-route-image-registry-system.apps.cluster.local"

// Behaviours 54, 55, 56, 57, 59: one registry that is exposed in every way, because starting a control plane
// costs more than all of it.
func TestExposure(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.edit(func(config *registryv1.Config) {
		config.Spec.ManagementState = registryv1.Managed
		config.Spec.Storage = registryv1.StorageSpec{EmptyDir: &registryv1.EmptyDirStorage{}}
		config.Spec.DefaultRoute = true
	})
	run := func(name string, step func(*testing.T)) {
		t.Run(name, func(t *testing.T) { c.t = t; step(t) })
	}

	run("the default route has host, path, back end, and a certificate of the published CA", func(t *testing.T) {
		c.hosts(defaultHost)
		object := c.ingress("default-route")
		rule := object.Spec.Rules[0]
		path := rule.HTTP.Paths[0]
		if rule.Host != defaultHost || path.Path != "/" || *path.PathType != networkingv1.PathTypePrefix ||
			path.Backend.Service.Name != "image-registry" || path.Backend.Service.Port.Number != 5000 {
			t.Errorf("rule %+v", rule)
		}
		if got := object.Annotations["nginx.ingress.kubernetes.io/backend-protocol"]; got != "HTTPS" {
			t.Errorf("backend-protocol is %q", got)
		}
		if tls := object.Spec.TLS; len(tls) != 1 || !slices.Equal(tls[0].Hosts, []string{defaultHost}) || tls[0].SecretName != "default-route-ingress-tls" {
			t.Errorf("tls %+v", tls)
		}
		if object.Spec.IngressClassName != nil {
			t.Errorf("class %q, want the default of the cluster", *object.Spec.IngressClassName)
		}
		c.eventually("a certificate for the host by the published CA", func() (bool, string) { return c.certified("default-route-ingress-tls", defaultHost) })
		c.routesFine()
	})

	run("the host reaches everybody who has to know it", func(t *testing.T) {
		c.eventually("host names", func() (bool, string) { return c.known(defaultHost) })
		c.eventually("nodes trust the certificate", func() (bool, string) {
			data := c.data("image-registry-certificates")
			return data[defaultHost] != "" && data[defaultHost] == c.data("serviceca")["service-ca.crt"], data[defaultHost]
		})
		c.event("IngressDomainDefaulted", defaultHost)
	})

	run("a route of the user whose Secret is missing is named, and everything else goes on", func(t *testing.T) {
		c.edit(func(config *registryv1.Config) {
			config.Spec.Routes = []registryv1.RouteSpec{{Name: "public", Hostname: "localhost.example.test", SecretName: "public-tls"}}
			config.Spec.LogLevel = registryv1.LogDebug
		})
		c.waitFor(registryv1.ConditionIngressDegraded, registryv1.ConditionTrue, registryv1.ReasonRouteDegraded)
		c.waitFor(registryv1.ConditionDegraded, registryv1.ConditionTrue, registryv1.ReasonRouteDegraded)
		if message := c.message(registryv1.ConditionIngressDegraded); !strings.Contains(message, "route public: Secret public-tls does not exist in namespace "+ns) {
			t.Errorf("message %q", message)
		}
		c.event("RouteDegraded", "public-tls")
		c.exists(apply.Ref{Kind: "Ingress", Namespace: ns, Name: "public"})
		c.eventually("the registry follows the other edit", func() (bool, string) {
			deployment, err := c.kube.AppsV1().Deployments(ns).Get(t.Context(), "image-registry", metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			env := fmt.Sprint(deployment.Spec.Template.Spec.Containers[0].Env)
			return strings.Contains(env, "REGISTRY_LOG_LEVEL debug"), env
		})
		c.hosts(defaultHost, "localhost.example.test")
	})

	run("with a wrong certificate it is named, with the right one it heals", func(t *testing.T) {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "public-tls"}, Type: corev1.SecretTypeTLS}
		crt, key, err := selfsigned.Issue(7)
		if err != nil {
			t.Fatal(err)
		}
		secret.Data = map[string][]byte{"tls.crt": crt, "tls.key": key}
		if _, err := c.kube.CoreV1().Secrets(ns).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.eventually("the wrong host is named", func() (bool, string) {
			message := c.message(registryv1.ConditionIngressDegraded)
			return strings.Contains(message, "not valid for host localhost.example.test"), message
		})
		crt, key = c.certificateFor("localhost.example.test")
		c.update(func() error {
			live, err := c.kube.CoreV1().Secrets(ns).Get(t.Context(), "public-tls", metav1.GetOptions{})
			if err != nil {
				return err
			}
			live.Data = map[string][]byte{"tls.crt": crt, "tls.key": key}
			_, err = c.kube.CoreV1().Secrets(ns).Update(t.Context(), live, metav1.UpdateOptions{})
			return err
		})
		c.routesFine()
		if _, there := c.data("image-registry-certificates")["localhost.example.test"]; there {
			t.Error("nodes get a CA for a host whose certificate the operator did not issue")
		}
	})

	run("class, domain and annotations follow their order, and the host the domain", func(t *testing.T) {
		c.edit(func(config *registryv1.Config) {
			config.Spec.Ingress = registryv1.IngressSpec{
				ClassName: "absent", Domain: "apps.example.test", Labels: map[string]string{"exposed": "yes", registryv1.LabelManagedBy: "me"},
				Annotations: map[string]string{"nginx.ingress.kubernetes.io/proxy-read-timeout": "30", "haproxy.org/server-ssl": "", "team": "a"},
			}
			config.Spec.Routes[0].IngressClassName = "other"
			config.Spec.Routes[0].Annotations = map[string]string{"nginx.ingress.kubernetes.io/proxy-read-timeout": "60", "team": ""}
		})
		const host = "default-route-image-registry-system.apps.example.test"
		c.hosts(host, "localhost.example.test")
		public, standard := c.ingress("public"), c.ingress("default-route")
		const timeout = "nginx.ingress.kubernetes.io/proxy-read-timeout"
		if public.Annotations[timeout] != "60" || standard.Annotations[timeout] != "30" {
			t.Errorf("time-outs %q and %q", public.Annotations[timeout], standard.Annotations[timeout])
		}
		if _, there := public.Annotations["haproxy.org/server-ssl"]; there {
			t.Error("an empty string did not remove a default annotation")
		}
		if _, there := public.Annotations["team"]; there || standard.Annotations["team"] != "a" {
			t.Errorf("team: %t %q", there, standard.Annotations["team"])
		}
		if *public.Spec.IngressClassName != "other" || *standard.Spec.IngressClassName != "absent" {
			t.Errorf("classes %q and %q", *public.Spec.IngressClassName, *standard.Spec.IngressClassName)
		}
		if standard.Labels["exposed"] != "yes" || standard.Labels[registryv1.LabelManagedBy] != registryv1.OperatorName {
			t.Errorf("labels %v", standard.Labels)
		}
		c.eventually("both classes are named as missing", func() (bool, string) {
			message := c.message(registryv1.ConditionIngressDegraded)
			return strings.Contains(message, "IngressClass absent does not exist") && strings.Contains(message, "IngressClass other does not exist"), message
		})
		for _, name := range []string{"absent", "other"} {
			class := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.IngressClassSpec{Controller: "example.test/none"}}
			if _, err := c.kube.NetworkingV1().IngressClasses().Create(t.Context(), class, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		c.routesFine()
		c.eventually("the certificate follows the host", func() (bool, string) { return c.certified("default-route-ingress-tls", host) })
		c.eventually("nobody keeps the old host", func() (bool, string) { return c.known(host + "," + "localhost.example.test") })
	})

	run("an edit and a deletion are put right", func(t *testing.T) {
		c.update(func() error {
			live := c.ingress("default-route")
			live.Spec.Rules[0].Host = "evil.example.test"
			live.Annotations["theirs"] = "stays"
			_, err := c.kube.NetworkingV1().Ingresses(ns).Update(t.Context(), live, metav1.UpdateOptions{})
			return err
		})
		c.eventually("the host is put back", func() (bool, string) {
			live := c.ingress("default-route")
			return live.Spec.Rules[0].Host == "default-route-image-registry-system.apps.example.test" && live.Annotations["theirs"] == "stays", fmt.Sprint(live.Spec.Rules, live.Annotations)
		})
		if err := c.kube.NetworkingV1().Ingresses(ns).Delete(t.Context(), "default-route", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.exists(apply.Ref{Kind: "Ingress", Namespace: ns, Name: "default-route"})
	})

	run("an Ingress of somebody else is neither changed nor deleted", func(t *testing.T) {
		foreign := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Spec: networkingv1.IngressSpec{
			DefaultBackend: &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "x", Port: networkingv1.ServiceBackendPort{Number: 1}}}}}
		made, err := c.kube.NetworkingV1().Ingresses(ns).Create(t.Context(), foreign, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c.edit(func(config *registryv1.Config) {
			config.Spec.Routes = append(config.Spec.Routes, registryv1.RouteSpec{Name: "theirs", Hostname: "theirs.example.test"})
		})
		c.eventually("it is reported", func() (bool, string) {
			message := c.message(registryv1.ConditionIngressDegraded)
			return strings.Contains(message, "Ingress theirs exists in namespace "+ns+" and was not made by the operator"), message
		})
		c.edit(func(config *registryv1.Config) { config.Spec.Routes = config.Spec.Routes[:1] })
		c.routesFine()
		if after := c.ingress("theirs"); after.ResourceVersion != made.ResourceVersion || after.UID != made.UID {
			t.Errorf("the foreign Ingress was changed: %+v", after)
		}
		c.hosts("default-route-image-registry-system.apps.example.test", "localhost.example.test")
	})

	run("what the API refuses is named and holds up no other route", func(t *testing.T) {
		c.edit(func(config *registryv1.Config) {
			config.Spec.Routes = append(config.Spec.Routes,
				registryv1.RouteSpec{Name: "bad", Hostname: "bad.example.test", Annotations: map[string]string{"no key at all": "x"}},
				registryv1.RouteSpec{Name: "fine", Hostname: "fine.example.test"})
		})
		c.eventually("it is named", func() (bool, string) {
			message := c.message(registryv1.ConditionIngressDegraded)
			return strings.Contains(message, "route bad: the cluster refuses its Ingress (spec.routes[name=bad]"), message
		})
		c.exists(apply.Ref{Kind: "Ingress", Namespace: ns, Name: "fine"})
		c.exists(apply.Ref{Kind: "Secret", Namespace: ns, Name: "fine-ingress-tls"})
		c.edit(func(config *registryv1.Config) { config.Spec.Routes = config.Spec.Routes[:1] })
		c.gone("Ingress", "fine")
		c.gone("Secret", "fine-ingress-tls")
		c.routesFine()
	})

	run("hostile host names are refused by the schema or named", func(t *testing.T) {
		for _, host := range []string{"*.example.test", "Upper.example.test", strings.Repeat("a.", 127) + "a", "a..b", "a b", "registry.example.test:443"} {
			err := c.tryRoute("hostile", host)
			if !apierrors.IsInvalid(err) {
				t.Errorf("%q: %v, want a refusal by the schema", host, err)
			}
		}
		if err := c.tryRoute("hostile", "localhost.example.test"); !apierrors.IsInvalid(err) {
			t.Errorf("the host of another route: %v, want a refusal by the schema", err)
		}
		for _, host := range []string{"192.0.2.7", strings.Repeat("a", 64) + ".example.test", "image-registry.image-registry-system.svc",
			"default-route-image-registry-system.apps.example.test"} {
			if err := c.tryRoute("hostile", host); err != nil {
				if !apierrors.IsInvalid(err) {
					t.Errorf("%q: %v", host, err)
				}
				continue
			}
			c.eventually("the host "+host+" is named", func() (bool, string) {
				message := c.message(registryv1.ConditionIngressDegraded)
				return strings.Contains(message, "route "), message
			})
			c.edit(func(config *registryv1.Config) { config.Spec.Routes = config.Spec.Routes[:1] })
			c.routesFine()
		}
		c.gone("Ingress", "hostile")
	})

	run("without routes nothing of them is left", func(t *testing.T) {
		c.edit(func(config *registryv1.Config) { config.Spec.DefaultRoute, config.Spec.Routes = false, nil })
		c.gone("Ingress", "default-route")
		c.gone("Ingress", "public")
		c.gone("Secret", "default-route-ingress-tls")
		c.hosts()
		c.eventually("nobody keeps a host", func() (bool, string) { return c.known("") })
		if c.get(apply.Ref{Kind: "Secret", Namespace: ns, Name: "public-tls"}) == nil {
			t.Error("the Secret of the user was deleted")
		}
		if c.get(apply.Ref{Kind: "Ingress", Namespace: ns, Name: "theirs"}) == nil {
			t.Error("the Ingress of somebody else was deleted")
		}
	})

	run("Unmanaged changes no Ingress, and Removed takes all own ones", func(t *testing.T) {
		c.edit(func(config *registryv1.Config) { config.Spec.DefaultRoute = true })
		c.exists(apply.Ref{Kind: "Secret", Namespace: ns, Name: "default-route-ingress-tls"})
		c.edit(func(config *registryv1.Config) {
			config.Spec.ManagementState, config.Spec.DefaultRoute = registryv1.Unmanaged, false
		})
		c.waitFor(registryv1.ConditionAvailable, registryv1.ConditionTrue, registryv1.ReasonUnmanaged)
		if c.get(apply.Ref{Kind: "Ingress", Namespace: ns, Name: "default-route"}) == nil || c.get(apply.Ref{Kind: "Secret", Namespace: ns, Name: "default-route-ingress-tls"}) == nil {
			t.Error("the Ingress or its certificate is gone in state Unmanaged")
		}
		if data := c.data("image-registry-certificates"); data["default-route-image-registry-system.apps.example.test"] == "" {
			t.Error("nodes lost the trust in the exposed host in state Unmanaged")
		}
		c.edit(func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Removed })
		c.gone("Ingress", "default-route")
		c.gone("Secret", "default-route-ingress-tls")
		if c.get(apply.Ref{Kind: "Ingress", Namespace: ns, Name: "theirs"}) == nil {
			t.Error("the Ingress of somebody else was deleted")
		}
	})
}

func (c *cluster) ingress(name string) *networkingv1.Ingress {
	c.t.Helper()
	object, err := c.kube.NetworkingV1().Ingresses(ns).Get(c.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		c.t.Fatalf("Ingress %s: %v", name, err)
	}
	return object
}

func (c *cluster) hosts(want ...string) {
	c.t.Helper()
	c.eventually("status.externalRegistryHostnames "+strings.Join(want, ","), func() (bool, string) {
		config := c.config()
		return slices.Equal(config.Status.ExternalRegistryHostnames, want), fmt.Sprint(config.Status.ExternalRegistryHostnames, "\n", summary(config))
	})
}

// known says whether exactly these hosts, with a comma between, are known to the registry, to the API server, to
// users and to the pull secret of a ServiceAccount.
func (c *cluster) known(hosts string) (bool, string) {
	c.t.Helper()
	list := strings.FieldsFunc(hosts, func(r rune) bool { return r == ',' })
	config := c.data("image-api-server-config")["config.yaml"]
	public := c.data("image-registry-public")["externalRegistryHostnames"]
	if public != strings.Join(list, "\n") {
		return false, "image-registry-public: " + public
	}
	deployment, err := c.kube.AppsV1().Deployments(ns).Get(c.t.Context(), "image-registry", metav1.GetOptions{})
	if err != nil {
		return false, err.Error()
	}
	variable := ""
	for _, env := range deployment.Spec.Template.Spec.Containers[0].Env {
		if env.Name == "REGISTRY_ALAUDA_SERVER_ADDITIONALHOSTS" {
			variable = env.Value
		}
	}
	wanted := ""
	if len(list) > 0 {
		wanted = `["` + strings.Join(list, `","`) + `"]`
	}
	if variable != wanted {
		return false, "REGISTRY_ALAUDA_SERVER_ADDITIONALHOSTS: " + variable
	}
	if strings.Contains(config, "externalRegistryHostnames") != (len(list) > 0) {
		return false, config
	}
	secret, err := c.kube.CoreV1().Secrets("default").Get(c.t.Context(), "default-registry-pull", metav1.GetOptions{})
	if err != nil {
		return false, err.Error()
	}
	credential := string(secret.Data[corev1.DockerConfigJsonKey])
	if strings.Contains(credential, "default-route-") != (len(list) > 0) {
		return false, "the pull secret of default/default differs" // its content is a credential
	}
	for _, host := range list {
		if !strings.Contains(config, "- "+host+"\n") {
			return false, config
		}
		if !strings.Contains(credential, `"`+host+`"`) {
			return false, "the pull secret of default/default lacks " + host
		}
	}
	return true, ""
}

func (c *cluster) data(configMap string) map[string]string {
	c.t.Helper()
	object, err := c.kube.CoreV1().ConfigMaps(ns).Get(c.t.Context(), configMap, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return object.Data
}

// certified says whether a Secret holds a certificate for the host that the published CA signed.
func (c *cluster) certified(secret, host string) (bool, string) {
	live, err := c.kube.CoreV1().Secrets(ns).Get(c.t.Context(), secret, metav1.GetOptions{})
	if err != nil {
		return false, err.Error()
	}
	block, _ := pem.Decode(live.Data["tls.crt"])
	if block == nil {
		return false, "no PEM"
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return false, err.Error()
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.data("serviceca")["service-ca.crt"]))
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
		return false, err.Error()
	}
	return len(leaf.DNSNames) == 1 && len(leaf.IPAddresses) == 0, fmt.Sprint(leaf.DNSNames, leaf.IPAddresses)
}

// certificateFor issues a certificate of another authority.
func (c *cluster) certificateFor(host string) (certificate, key []byte) {
	c.t.Helper()
	certificate, key, err := selfsigned.IssueFor(8, host)
	if err != nil {
		c.t.Fatal(err)
	}
	return certificate, key
}

func (c *cluster) message(kind string) string {
	for _, condition := range c.config().Status.Conditions {
		if condition.Type == kind {
			return condition.Message
		}
	}
	return ""
}

func (c *cluster) routesFine() {
	c.t.Helper()
	c.waitFor(registryv1.ConditionIngressDegraded, registryv1.ConditionFalse, registryv1.ReasonAsExpected)
}

func (c *cluster) gone(kind, name string) {
	c.t.Helper()
	c.eventually(kind+" "+name+" is gone", func() (bool, string) {
		return c.get(apply.Ref{Kind: kind, Namespace: ns, Name: name}) == nil, summary(c.config())
	})
}

func (c *cluster) event(reason, part string) {
	c.t.Helper()
	c.eventually("event "+reason, func() (bool, string) {
		events, err := c.kube.CoreV1().Events("").List(c.t.Context(), metav1.ListOptions{FieldSelector: "reason=" + reason})
		if err != nil {
			return false, err.Error()
		}
		return slices.ContainsFunc(events.Items, func(e corev1.Event) bool {
			return e.InvolvedObject.Kind == "Config" && strings.Contains(e.Message, part)
		}), fmt.Sprint(len(events.Items), " events")
	})
}

func (c *cluster) update(write func() error) {
	c.t.Helper()
	if err := retry.RetryOnConflict(retry.DefaultRetry, write); err != nil {
		c.t.Fatal(err)
	}
}

// tryRoute adds a route as a user would, and returns the answer of the API.
func (c *cluster) tryRoute(name, host string) error {
	c.t.Helper()
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		config, err := c.registry.ImageregistryV1().Configs().Get(c.t.Context(), registryv1.SingletonName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		config.Spec.Routes = append(config.Spec.Routes, registryv1.RouteSpec{Name: name, Hostname: host})
		_, err = c.registry.ImageregistryV1().Configs().Update(c.t.Context(), config, metav1.UpdateOptions{})
		return err
	})
}
