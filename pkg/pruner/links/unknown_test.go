package links

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
)

// Which links an image needs of which nobody knows what it consists of is not known either.
func TestBesideWhatIsUnknownAllLinksStay(t *testing.T) {
	for _, exists := range []bool{false, true} {
		fake, to := client(map[string][]string{"app": nil}), &fakeRegistry{}
		if exists {
			if err := fake.Tracker().Add(&imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: id("9")}}); err != nil {
				t.Fatal(err)
			}
		}
		relations, _ := world()
		remover := Remover{Client: fake, Registry: to, Keep: relations.Keep, Workers: 1}
		items := remover.Remove(t.Context(), []Change{{Namespace: "ns", Name: "app", Removed: ids("f"), Listed: ids("9")}})
		if len(items) != 0 || len(to.requests) != 0 {
			t.Errorf("the image exists: %t: %v, requests %v", exists, items, to.requests)
		}
	}
}
