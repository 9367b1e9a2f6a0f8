package conformance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/app"
	"image.alauda.io/registry/pkg/registry/audit"
	"image.alauda.io/registry/pkg/registry/imageapi"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

// racing is an image API in which somebody else is always first to make a stream.
type racing struct{ imageapi.Client }

func (r racing) CreateStream(ctx context.Context, stream *imagev1.ImageStream) error {
	if err := r.Client.CreateStream(ctx, stream.DeepCopy()); err != nil {
		return err
	}
	return r.Client.CreateStream(ctx, stream)
}

// A first push that another one overtook made no stream, and says so.
func TestOnlyOneOfTwoFirstPushesMadeTheStream(t *testing.T) {
	for what, records := range map[string]int{"alone": 1, "overtaken": 0} {
		out := &recorder{}
		e := startWith(t, inmemory.New(), func(d *app.Dependencies) {
			if what == "overtaken" {
				d.API = racing{d.API}
			}
			var err error
			if d.Audit, err = audit.Open(audit.Options{Out: out, Now: d.Now, Failed: func(err error) { t.Error(err) }}); err != nil {
				t.Fatal(err)
			}
		})
		e.pushImage("team/app", "v1", "first")
		e.Close()
		if got := strings.Count(out.String(), `"operation":"create-imagestream"`); got != records || !strings.Contains(out.String(), "push-manifest") {
			t.Errorf("%s: %d records, want %d: %s", what, got, records, out.String())
		}
	}
}

// Who is denied the metrics is named like everybody else who is denied something.
func TestADeniedReaderOfMetricsIsNamed(t *testing.T) {
	w := startOverheard(t, inmemory.New())
	w.get("/metrics").want(403)
	w.Close()
	for _, line := range w.audit.lines(t) {
		if line["operation"] == "read-metrics" && line["user"] == "dev" && line["code"] == "DENIED" {
			return
		}
	}
	t.Errorf("audit log %s", w.audit.String())
}

// A Content-Length near the largest number turns negative when what is there is added.
func TestAnnouncedSizesDoNotOverflow(t *testing.T) {
	e := startLimited(t, &namespaceLimits{max: "1Ki"})
	next := e.do(call{method: "PATCH", path: e.session("team/app"), body: make([]byte, 1000)}).want(202).Header.Get("Location")
	connection, err := net.Dial("tcp", e.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close() //nolint:errcheck // the answer was read
	_ = connection.SetDeadline(time.Now().Add(20 * time.Second))
	path := next[strings.Index(next, "/v2/"):]
	_, _ = fmt.Fprintf(connection, "PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 9223372036854775807\r\n\r\nxyz", path, devToken)
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // only read
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != 403 || !strings.Contains(string(body), "exceeds the maximum limit per alauda.io/Image (") {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
	noUploads(t, e)
}
