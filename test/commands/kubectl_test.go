package commands

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	kyaml "sigs.k8s.io/yaml"
)

// kinds are the resources that the pages name, by all their names; the first is the kind in lower case.
var kinds = [][]string{
	{"pod", "pods", "po"}, {"deployment", "deployments", "deploy", "deployments.apps"}, {"daemonset", "daemonsets"}, {"cronjob", "cronjobs"}, {"job", "jobs"},
	{"configmap", "configmaps"}, {"secret", "secrets"}, {"serviceaccount", "serviceaccounts", "sa"}, {"service", "services", "svc"}, {"namespace", "namespaces", "ns"},
	{"node", "nodes"}, {"event", "events"}, {"lease", "leases"}, {"ingress", "ingresses"}, {"apiservice", "apiservices"}, {"resourcequota", "quota"},
	{"persistentvolumeclaim", "pvc"}, {"customresourcedefinition", "crd"}, {"networkpolicy", "networkpolicies"},
	{"role", "roles"}, {"rolebinding", "rolebindings"}, {"clusterrole", "clusterroles"}, {"clusterrolebinding", "clusterrolebindings"},
	{"servicemonitor", "servicemonitors"}, {"podmonitor", "podmonitors"}, {"prometheusrule", "prometheusrules"},
	{"subscription"}, {"clusterserviceversion", "csv"}, {"installplan"},
	{"config", "configs.imageregistry.operator.alauda.io"}, {"imagepruner", "imagepruners.imageregistry.operator.alauda.io"},
	{"imagestream", "imagestreams", "is", "imagestreams.image.alauda.io"}, {"imagestreamtag", "imagestreamtags", "istag"}, {"image", "images"},
}

// kindOf returns the kind of a resource name, or nothing.
func kindOf(word string) string {
	for _, names := range kinds {
		if slices.Contains(names, word) {
			return names[0]
		}
	}
	return ""
}

// valued are flags of kubectl that take a value, when it is not joined by =.
var valued = []string{"-n", "--namespace", "-o", "--output", "-l", "--selector", "-c", "--container", "-p", "--patch", "-f", "-k", "--type", "--for", "--timeout",
	"--field-selector", "--from-literal", "--from-file", "--image", "--as"}

// question is a kubectl command, taken apart.
type question struct {
	verb      string
	arguments []string
	flags     map[string][]string
}

// ask takes a kubectl command apart. What stands behind -- belongs to a program in a container.
func ask(words []string) question {
	q := question{flags: map[string][]string{}}
	for i := 1; i < len(words); i++ {
		word := words[i]
		if word == "--" || word == "<<" {
			break
		}
		name, value, joined := strings.Cut(word, "=")
		switch {
		case word == ">":
			i++
		case strings.HasPrefix(word, ">") || strings.HasPrefix(word, "2>") || strings.HasPrefix(word, "<<<"):
		case strings.HasPrefix(word, "-") && joined:
			q.flags[name] = append(q.flags[name], value)
		case strings.HasPrefix(word, "-") && slices.Contains(valued, word) && i+1 < len(words):
			i++
			q.flags[name] = append(q.flags[name], words[i])
		case strings.HasPrefix(word, "-"):
			q.flags[name] = append(q.flags[name], "")
		case q.verb == "":
			q.verb = word
		default:
			q.arguments = append(q.arguments, word)
		}
	}
	return q
}

func (q question) flag(names ...string) string {
	for _, name := range names {
		if values := q.flags[name]; len(values) > 0 {
			return values[len(values)-1]
		}
	}
	return ""
}

// mine are names that the pages give to what belongs to the reader.
var mine = []string{"team-a", "team-b", "team-use", "my-project", "shared"}

// example says whether a name is the reader's, or filled in by the shell.
func example(name string) bool {
	return name == "" || strings.ContainsAny(name, "$<…") || slices.Contains(mine, name)
}

// targets are the kinds and names that a command is about.
func (q question) targets() (kinds []string, names []string, unknown string) {
	arguments := q.arguments
	switch q.verb {
	case "get", "describe", "delete", "patch", "annotate", "label", "wait", "scale":
	case "rollout", "set":
		arguments = arguments[min(1, len(arguments)):]
	case "logs", "exec":
		if len(arguments) > 0 && !strings.Contains(arguments[0], "/") {
			return []string{"pod"}, arguments[:1], ""
		}
	default:
		return nil, nil, ""
	}
	for i, argument := range arguments {
		kind, name, slash := strings.Cut(argument, "/")
		switch {
		case strings.Contains(argument, "=") || strings.HasSuffix(argument, "-"): // values of annotate, label and set env
		case strings.ContainsAny(argument, "$<"): // filled in by the shell
		case slash:
			if kindOf(kind) == "" {
				return nil, nil, kind
			}
			kinds, names = append(kinds, kindOf(kind)), append(names, name)
		case i == 0:
			for one := range strings.SplitSeq(argument, ",") {
				// kinds of the Operator Framework and of hidden records are looked for by their definitions
				if kindOf(one) == "" && !strings.HasSuffix(one, ".storage.image.alauda.io") {
					return nil, nil, one
				}
				kinds = append(kinds, kindOf(one))
			}
		default:
			names = append(names, argument)
		}
	}
	return kinds, names, ""
}

// Names, namespaces, selectors and accounts in kubectl commands are those of the product, or the reader's.
func TestKubectlCommandsNameWhatIsThere(t *testing.T) {
	product, checked := objectsOfTheProduct(t), 0
	for _, c := range everyCommand(t) {
		if c.words[0] != "kubectl" || len(c.words) == 1 {
			continue
		}
		q := ask(c.words)
		namespace := q.flag("-n", "--namespace")
		if namespace != "image-registry-system" && !example(namespace) {
			t.Errorf("%s: namespace %s is neither the product's nor one of the examples %q: %s", c.page, namespace, mine, c.text)
		}
		for _, selector := range append(q.flags["-l"], q.flags["--selector"]...) {
			for one := range strings.SplitSeq(selector, ",") {
				if !product.labels[one] {
					t.Errorf("%s: no object has the label %s: %s", c.page, one, c.text)
				}
			}
		}
		for _, account := range q.flags["--as"] {
			name, ours := strings.CutPrefix(account, "system:serviceaccount:image-registry-system:")
			if ours && !product.objects["serviceaccount/"+name] {
				t.Errorf("%s: there is no ServiceAccount %s: %s", c.page, name, c.text)
			}
		}
		for _, role := range q.flags["--clusterrole"] {
			if !product.objects["clusterrole/"+role] {
				t.Errorf("%s: there is no ClusterRole %s: %s", c.page, role, c.text)
			}
		}
		kinds, names, unknown := q.targets()
		if unknown != "" {
			t.Errorf("%s: %q is no resource that the pages are about: %s", c.page, unknown, c.text)
		}
		for i, name := range names {
			if example(name) || namespace != "image-registry-system" && !slices.Contains([]string{"config", "imagepruner", "apiservice"}, kinds[min(i, len(kinds)-1)]) {
				continue
			}
			checked++
			if !slices.ContainsFunc(kinds, func(kind string) bool { return product.objects[kind+"/"+name] }) && !readers[name] {
				t.Errorf("%s: there is no %v %s: %s", c.page, kinds, name, c.text)
			}
		}
	}
	if checked < 80 {
		t.Errorf("only %d names were compared", checked)
	}
}

// readers are objects in the product's namespace that the reader makes by the page itself.
var readers = map[string]bool{"mirror-ca": true, "copy-images": true, "NAME": true,
	// a Role of builds before 0.1.0 that install.md takes away
	"cluster-image-registry-operator-grants": true}

// Patches have only fields that their kind has, and values of the right type.
func TestPatchesFitTheirKinds(t *testing.T) {
	checked := 0
	for _, c := range everyCommand(t) {
		if c.words[0] != "kubectl" {
			continue
		}
		q := ask(c.words)
		patch := q.flag("-p", "--patch")
		kinds, _, _ := q.targets()
		if q.verb != "patch" || !strings.HasPrefix(patch, "{") || len(kinds) == 0 || types[kinds[0]] == nil {
			continue
		}
		checked++
		if err := fits(kinds[0], []byte(patch)); err != nil {
			t.Errorf("%s: %s: %v", c.page, patch, err)
		}
	}
	if checked < 15 {
		t.Errorf("only %d patches were compared", checked)
	}
}

// fits decodes JSON or YAML into a kind, and no field may be left.
func fits(kind string, data []byte) error {
	var patch map[string]any
	if err := json.Unmarshal(data, &patch); err == nil {
		if metadata, ok := patch["metadata"].(map[string]any); ok && metadata["finalizers"] == nil {
			delete(metadata, "finalizers") // null takes them away
		}
		if data, err = json.Marshal(patch); err != nil {
			return err
		}
	}
	return kyaml.UnmarshalStrict(data, types[kind]())
}
