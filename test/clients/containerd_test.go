//go:build clients

package clients

import "testing"

// node runs a command on the first node, with the trust that node-ca has brought there.
const node = `NODE=$(kubectl get nodes -o jsonpath={.items[0].metadata.name})
on() { devcluster exec $NODE -- "$@"; }
`

// Behaviour registry 100. containerd finds the registry by its service name: certificates and
// addresses on the nodes are those of node-ca. The kubelet's pulls are
// in test/e2e.
func TestContainerd(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ctr := node + "c() { on ctr -n clients \"$@\"; }\nREF=$INTERNAL/$OURS/app:v1\nHOSTS='--hosts-dir /etc/containerd/certs.d'\n"
	t.Cleanup(func() {
		if out, err := d.try(t, nil, ctr+"c images rm $(c images ls -q) && c namespaces rm clients"); err != nil {
			t.Logf("clean-up: %v\n%s", err, out)
		}
	})
	t.Log(d.run(t, ctr+`c images import $PWD/image.tar && c images tag $REGISTRY/$OURS/app:v1 $REF
		c images push $HOSTS --user builder:$TOKEN $REF`))
	digest := d.pulled(t, d.ours+"/app:v1")
	with := ctr + "DIGEST=" + digest + "\n"
	t.Log(d.run(t, with+`c images rm $(c images ls -q) && c images pull $HOSTS --user builder:$TOKEN $REF
		c images ls name==$REF | has $DIGEST
		c images pull $HOSTS --user builder:$TOKEN $INTERNAL/$OURS/app@$DIGEST`))
	t.Log(d.run(t, with+`c images tag $REF $INTERNAL/$OTHER/copy:v1 && c images push $HOSTS --user builder:$TOKEN $INTERNAL/$OTHER/copy:v1`))
	if got := d.pulled(t, d.other+"/copy:v1"); got != digest {
		t.Errorf("the copy has digest %s, want %s", got, digest)
	}
	expectRefusal(t, d.refused(t, "true", with+`c images pull $HOSTS $REF`), `401 Unauthorized|authorization failed|authentication required`, "get", d)
	expectRefusal(t, d.refused(t, "true", with+`c images pull $HOSTS --user stranger:$TOKEN $REF`), `403 Forbidden|cannot get imagestreams/layers`, "get", d)
	expectRefusal(t, d.refused(t, "true", with+`c images push $HOSTS --user stranger:$TOKEN $REF`), `403 Forbidden|cannot (get|update) imagestreams/layers`, "update", d)
	t.Log(d.run(t, with+`kubectl -n $OURS create rolebinding everybody --clusterrole=system:image-puller --group=system:unauthenticated
		c images rm $(c images ls -q)
		for i in $(seq 30); do c images pull $HOSTS $REF && exit 0; sleep 1; done; exit 1`))
}
