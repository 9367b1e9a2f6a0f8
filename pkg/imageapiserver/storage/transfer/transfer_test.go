package transfer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"

	"image.alauda.io/registry/pkg/imageapiserver/controllers"
)

// stored is a value transformer over what a test gives it.
type stored struct {
	value.Transformer
	data []byte
	err  error
}

func (s stored) TransformFromStorage(context.Context, []byte, value.Context) ([]byte, bool, error) {
	return s.data, true, s.err
}

const good = `{"kind":"Image","apiVersion":"image.alauda.io/v1","metadata":{"name":"sha256:a","uid":"u"},"future":{"b":1,"a":2}}`

func TestValuesAreKeptOrReported(t *testing.T) {
	for name, test := range map[string]struct {
		value  stored
		damage string
	}{
		"sound":                  {stored{data: []byte(good)}, ""},
		"cannot be decrypted":    {stored{err: errors.New("wrong key")}, "wrong key"},
		"no JSON":                {stored{data: []byte("\x01abc")}, "invalid character"},
		"no object":              {stored{data: []byte(`{"kind":"Image"}`)}, `the name ""`},
		"with a resourceVersion": {stored{data: []byte(`{"kind":"Image","metadata":{"name":"a","resourceVersion":"7"}}`)}, "resourceVersion"},
		"forged report":          {stored{data: []byte("\x00key\x00text")}, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			data, _, err := reportDamage{test.value}.TransformFromStorage(t.Context(), nil, value.DefaultContext("/prefix/images/sha256:a"))
			if err != nil {
				t.Fatal(err)
			}
			obj := &object{}
			if _, _, err := (verbatim{}).Decode(data, nil, obj); err != nil {
				t.Fatal(err)
			}
			if test.damage == "" {
				encoded, err := runtime.Encode(verbatim{}, obj)
				if err != nil || string(encoded) != good || obj.UID != "u" || obj.damage != nil {
					t.Errorf("read %+v, encoded %s, error %v: want the JSON unchanged", obj, encoded, err)
				}
				return
			}
			if obj.damage == nil || !strings.Contains(obj.damage.Error(), test.damage) || obj.key != "/prefix/images/sha256:a" {
				t.Errorf("got key %q and damage %v, want %q", obj.key, obj.damage, test.damage)
			}
		})
	}
}

// A read that was given up says nothing about the value.
func TestAnInterruptedReadIsNoDamage(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := (reportDamage{stored{err: ctx.Err()}}).TransformFromStorage(ctx, nil, value.DefaultContext("k")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

func TestEveryObjectIsOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"{\"a\": 1}\n":           "{\"a\": 1}\n",
		"{\n \"a\": \"b\\n\"\n}": "{\"a\":\"b\\n\"}\n",
	} {
		var out bytes.Buffer
		buffered := bufio.NewWriter(&out)
		if err := errors.Join(writeLine(buffered, []byte(in)), buffered.Flush()); err != nil || out.String() != want {
			t.Errorf("%q became %q, error %v, want %q", in, &out, err, want)
		}
	}
}

func TestServerRunsWhileItsLeaseIsFresh(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(before time.Duration) *metav1.MicroTime { return &metav1.MicroTime{Time: now.Add(-before)} }
	for name, test := range map[string]struct {
		spec *coordinationv1.LeaseSpec
		want string
	}{
		"no lease":        {nil, ""},
		"released":        {&coordinationv1.LeaseSpec{HolderIdentity: ptr.To(""), RenewTime: at(0)}, ""},
		"never held":      {&coordinationv1.LeaseSpec{}, ""},
		"fresh":           {&coordinationv1.LeaseSpec{HolderIdentity: ptr.To("a"), RenewTime: at(14 * time.Second)}, "a"},
		"long and fresh":  {&coordinationv1.LeaseSpec{HolderIdentity: ptr.To("a"), RenewTime: at(50 * time.Second), LeaseDurationSeconds: ptr.To(int32(60))}, "a"},
		"expired":         {&coordinationv1.LeaseSpec{HolderIdentity: ptr.To("a"), RenewTime: at(16 * time.Second)}, ""},
		"clock runs fast": {&coordinationv1.LeaseSpec{HolderIdentity: ptr.To("a"), RenewTime: at(-time.Minute)}, "a"},
	} {
		kube := fake.NewClientset()
		if test.spec != nil {
			lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: controllers.LeaseName}, Spec: *test.spec}
			if _, err := kube.CoordinationV1().Leases("ns").Create(t.Context(), lease, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := ServerRuns(t.Context(), kube, "ns", now); err != nil || got != test.want {
			t.Errorf("%s: holder %q, error %v, want %q", name, got, err, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"kind":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := parse(data)
		if err == nil && (o.Name == "" || o.ResourceVersion != "" || !bytes.Equal(o.json, data)) {
			t.Errorf("%q was accepted as %+v", data, o)
		}
	})
}
