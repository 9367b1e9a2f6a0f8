package sandbox

import (
	"slices"
	"strings"
	"testing"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

func TestMountsBelowAFolderAreFound(t *testing.T) {
	const info = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:20 / /src/_output/devcluster/a rw - tmpfs tmpfs rw
31 30 0:21 / /src/_output/devcluster/a/b\040c rw - tmpfs tmpfs rw
32 22 0:22 / /src/_output/devcluster-other rw - tmpfs tmpfs rw
33 22 0:23 / /src/_output/devcluster rw - tmpfs tmpfs rw
broken
`
	got := mountsBelow(info, "/src/_output/devcluster")
	want := []string{"/src/_output/devcluster/a", "/src/_output/devcluster/a/b c"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheHolderStartsInTheNodesNamespaces(t *testing.T) {
	got := strings.Join(HolderArgs("/bin/devcluster", plan.NewLayout("/src"), plan.Node{Index: 2}), " ")
	want := "nsenter --net=/run/netns/dev-node2 unshare --mount --uts --propagation private /bin/devcluster hold --repo /src node2"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = strings.Join(EnterArgs(7, "ls", "/etc"), " ")
	if want := "nsenter --target=7 --mount --uts --net -- ls /etc"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
