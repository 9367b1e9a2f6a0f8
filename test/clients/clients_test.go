//go:build clients

package clients

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// client is one program as scripts. Each runs in the desk's directory, in the order of the fields.
type client struct {
	name string
	// login keeps the credentials in $TOKEN for the registry.
	login string
	// push leaves image.tar or oci, or content of its own, as $OURS/app:v1.
	push string
	// pullTag and pullDigest fetch $OURS/app:v1 and $OURS/app@$DIGEST, and check what came.
	pullTag, pullDigest string
	// copy leaves the image as $OTHER/copy:v1.
	copy string
	// more is what else people do with the client.
	more string
	// refusedPush and refusedPull are tried as a stranger, after login.
	refusedPush, refusedPull string
	// pushRefusal and pullRefusal are what the stranger must be told; empty for the sentence of
	// the registry. Clients that begin with HEAD, whose answers have no body, can only tell the
	// status.
	pushRefusal, pullRefusal string
}

var clients = []client{
	{
		name:  "crane",
		login: `crane auth login $REGISTRY -u builder --password-stdin <<<$TOKEN`,
		push:  `crane push image.tar $REGISTRY/$OURS/app:v1`,
		pullTag: `crane pull $REGISTRY/$OURS/app:v1 pulled.tar && tar tf pulled.tar | has manifest.json
			[ "$(crane digest $REGISTRY/$OURS/app:v1)" = $DIGEST ]`,
		pullDigest: `crane pull --format=oci $REGISTRY/$OURS/app@$DIGEST pulled && crane validate --remote $REGISTRY/$OURS/app@$DIGEST`,
		copy:       `crane copy $REGISTRY/$OURS/app:v1 $REGISTRY/$OTHER/copy:v1`,
		more: `crane tag $REGISTRY/$OURS/app:v1 second
			[ "$(crane ls $REGISTRY/$OURS/app | tr '\n' ' ')" = "second v1 " ]
			crane catalog $REGISTRY | has $OURS/app`,
		refusedPush: `crane push image.tar $REGISTRY/$OURS/app:v2`,
		pushRefusal: `403 Forbidden|cannot (get|update) imagestreams/layers`,
		refusedPull: `crane pull $REGISTRY/$OURS/app:v1 stolen.tar`,
	},
	{
		name:  "skopeo",
		login: `skopeo login -u builder --password-stdin $REGISTRY <<<$TOKEN`,
		push:  `skopeo copy oci:oci:v1 docker://$REGISTRY/$OURS/app:v1`,
		pullTag: `skopeo copy docker://$REGISTRY/$OURS/app:v1 oci:pulled:v1
			skopeo inspect docker://$REGISTRY/$OURS/app:v1 | has $DIGEST`,
		pullDigest:  `skopeo copy docker://$REGISTRY/$OURS/app@$DIGEST docker-archive:pulled.tar`,
		copy:        `skopeo copy docker://$REGISTRY/$OURS/app:v1 docker://$REGISTRY/$OTHER/copy:v1`,
		more:        `skopeo list-tags docker://$REGISTRY/$OURS/app | has '"v1"'`,
		refusedPush: `skopeo copy oci:oci:v1 docker://$REGISTRY/$OURS/app:v2`,
		pushRefusal: `failed to read from destination repository \S+/app: 403 \(Forbidden\)`,
		refusedPull: `skopeo copy docker://$REGISTRY/$OURS/app:v1 oci:stolen:v1`,
	},
	{
		name:  "buildah",
		login: buildah + `b login -u builder --password-stdin $REGISTRY <<<$TOKEN`,
		push: buildah + `date >content; printf 'FROM scratch\nCOPY content /content\n' >Dockerfile
			b bud -t $REGISTRY/$OURS/app:v1 . && b push $REGISTRY/$OURS/app:v1`,
		pullTag:     buildah + `b rmi --all && b pull $REGISTRY/$OURS/app:v1`,
		pullDigest:  buildah + `b rmi --all && b pull $REGISTRY/$OURS/app@$DIGEST`,
		copy:        buildah + `b pull $REGISTRY/$OURS/app:v1 && b push $REGISTRY/$OURS/app:v1 docker://$REGISTRY/$OTHER/copy:v1`,
		more:        buildah + `printf "FROM $REGISTRY/$OURS/app:v1\nCOPY Dockerfile /\n" >Dockerfile && b bud -t $REGISTRY/$OURS/app:v2 . && b push $REGISTRY/$OURS/app:v2`,
		refusedPush: buildah + `b bud -t $REGISTRY/$OURS/app:v3 . && b push $REGISTRY/$OURS/app:v3`,
		pushRefusal: `403 \(Forbidden\)|cannot (get|update) imagestreams/layers`,
		refusedPull: buildah + `b pull $REGISTRY/$OURS/app:v1`,
	},
	{
		name:  "podman",
		login: podman + `p login -u builder --password-stdin $REGISTRY <<<$TOKEN`,
		push:  podman + `p load -i image.tar && p push $REGISTRY/$OURS/app:v1`,
		pullTag: podman + `p rmi --all --force && p pull $REGISTRY/$OURS/app:v1
			p image inspect $REGISTRY/$OURS/app:v1 | has $DIGEST`,
		pullDigest:  podman + `p rmi --all --force && p pull $REGISTRY/$OURS/app@$DIGEST`,
		copy:        podman + `p pull $REGISTRY/$OURS/app:v1 && p tag $REGISTRY/$OURS/app:v1 $REGISTRY/$OTHER/copy:v1 && p push $REGISTRY/$OTHER/copy:v1`,
		more:        podman + `p manifest create list && p manifest add list docker://$REGISTRY/$OURS/app:v1 && p manifest push --all list docker://$REGISTRY/$OURS/list:v1 && p pull $REGISTRY/$OURS/list:v1`,
		refusedPush: podman + `p load -i image.tar && p push $REGISTRY/$OURS/app:v1`,
		pushRefusal: `403 \(Forbidden\)|cannot (get|update) imagestreams/layers`,
		refusedPull: podman + `p pull $REGISTRY/$OURS/app:v1`,
	},
	{
		name:  "oras",
		login: `oras login $REGISTRY -u builder --password-stdin <<<$TOKEN`,
		push:  `echo content >file && oras push $REGISTRY/$OURS/app:v1 --artifact-type application/vnd.example.thing file:text/plain`,
		pullTag: `oras pull -o by-tag $REGISTRY/$OURS/app:v1 && cmp file by-tag/file
			[ "$(oras resolve $REGISTRY/$OURS/app:v1)" = $DIGEST ]`,
		pullDigest: `oras pull -o by-digest $REGISTRY/$OURS/app@$DIGEST && cmp file by-digest/file`,
		copy: `echo '{}' >sbom.json && oras attach --artifact-type application/vnd.example.sbom $REGISTRY/$OURS/app:v1 sbom.json
			oras copy -r $REGISTRY/$OURS/app:v1 $REGISTRY/$OTHER/copy:v1
			oras discover $REGISTRY/$OTHER/copy:v1 | has application/vnd.example.sbom`,
		more: `oras repo tags $REGISTRY/$OURS/app | has -x v1
			oras manifest fetch $REGISTRY/$OURS/app:v1 | has application/vnd.example.thing`,
		refusedPush: `echo other >file && oras push $REGISTRY/$OURS/app:v2 file:text/plain`,
		pushRefusal: `403: Forbidden|cannot (get|update) imagestreams/layers`,
		refusedPull: `oras pull $REGISTRY/$OURS/app:v1`,
	},
	{
		name:  "helm",
		login: `helm registry login $REGISTRY -u builder --password-stdin <<<$TOKEN`,
		push:  `helm create app && helm package --version 1.0.0 app && helm push app-1.0.0.tgz oci://$REGISTRY/$OURS`,
		pullTag: `mkdir by-tag && helm pull oci://$REGISTRY/$OURS/app --version 1.0.0 -d by-tag && cmp app-1.0.0.tgz by-tag/app-1.0.0.tgz
			helm template oci://$REGISTRY/$OURS/app --version 1.0.0 | has 'kind: Deployment'`,
		pullDigest:  `mkdir by-digest && helm pull oci://$REGISTRY/$OURS/app@$DIGEST -d by-digest && cmp app-1.0.0.tgz by-digest/app*.tgz`,
		copy:        `helm pull oci://$REGISTRY/$OURS/app && helm push app-1.0.0.tgz oci://$REGISTRY/$OTHER`,
		refusedPush: `helm push app-1.0.0.tgz oci://$REGISTRY/$OURS`,
		pushRefusal: `403: Forbidden|cannot (get|update) imagestreams/layers`,
		refusedPull: `helm pull oci://$REGISTRY/$OURS/app --version 1.0.0`,
	},
	{
		name:  "regctl",
		login: `regctl registry set --cacert "$(cat $CA)" $REGISTRY && regctl registry login $REGISTRY -u builder --pass-stdin <<<$TOKEN`,
		push:  `regctl image copy ocidir://oci:v1 $REGISTRY/$OURS/app:v1`,
		pullTag: `regctl image copy $REGISTRY/$OURS/app:v1 ocidir://pulled:v1
			[ "$(regctl manifest head $REGISTRY/$OURS/app:v1)" = $DIGEST ]`,
		pullDigest: `regctl image export $REGISTRY/$OURS/app@$DIGEST pulled.tar && tar tf pulled.tar | has index.json`,
		copy: `regctl artifact put --artifact-type application/vnd.example.note -f $CA --subject $REGISTRY/$OURS/app:v1
			regctl image copy --referrers $REGISTRY/$OURS/app:v1 $REGISTRY/$OTHER/copy:v1
			regctl artifact list $REGISTRY/$OTHER/copy:v1 | has application/vnd.example.note`,
		more: `regctl tag ls $REGISTRY/$OURS/app | has -x v1
			regctl repo ls $REGISTRY | has -x $OURS/app`,
		refusedPush: `regctl image import $REGISTRY/$OURS/app:v2 image.tar`,
		refusedPull: `regctl image export $REGISTRY/$OURS/app:v1 stolen.tar`,
	},
}

// The local stores of buildah and podman: nothing of the machine's own is touched.
const (
	buildah = "b() { if [ \"$1\" = login ]; then buildah \"$@\"; else buildah --storage-driver vfs --root $HOME/store --runroot $HOME/run \"$@\"; fi; }\n"
	podman  = "p() { podman --storage-driver vfs --root $HOME/store --runroot $HOME/run --cgroup-manager cgroupfs --events-backend none \"$@\"; }\n"
)

// Behaviour registry 99. BuildKit and docker need a daemon each and are not driven here.
func TestClients(t *testing.T) {
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			t.Log(d.run(t, c.login))
			t.Log(d.run(t, c.push))
			tag := "v1"
			if c.name == "helm" {
				tag = "1.0.0" // helm's tags are versions
			}
			digest := d.pulled(t, d.ours+"/app:"+tag)
			with := "DIGEST=" + digest + "\n"
			t.Log(d.run(t, with+c.pullTag))
			t.Log(d.run(t, with+c.pullDigest))
			t.Log(d.run(t, with+c.copy))
			copied := d.other + "/copy:v1"
			if c.name == "helm" {
				copied = d.other + "/app:1.0.0" // and its repositories are charts
			}
			if got := d.pulled(t, copied); got != digest && c.keepsDigest() {
				t.Errorf("the copy has digest %s, want %s", got, digest)
			}
			if c.more != "" {
				t.Log(d.run(t, with+c.more))
			}
			expectRefusal(t, d.refused(t, c.login, with+c.refusedPush), c.pushRefusal, "update", d)
			expectRefusal(t, d.refused(t, c.login, with+c.refusedPull), c.pullRefusal, "get", d)
		})
	}
}

// keepsDigest tells whether the client copies manifests as they are. buildah and podman compress
// the layers of their stores anew, and helm pushes what it has on disk with the time.
func (c client) keepsDigest() bool {
	return !slices.Contains([]string{"buildah", "podman", "helm"}, c.name)
}

func expectRefusal(t *testing.T, said, expected, verb string, d *desk) {
	t.Helper()
	if expected == "" {
		expected = `user \\*"system:serviceaccount:` + d.strangers + `:stranger\\*" cannot ` + verb + ` imagestreams/layers`
	}
	if !regexp.MustCompile(expected).MatchString(said) {
		t.Errorf("a stranger is told %q, which does not match %q", strings.TrimSpace(said), expected)
	}
}
