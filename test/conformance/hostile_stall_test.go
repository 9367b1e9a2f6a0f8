package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A client that stops in the middle of its body is cut off. It must never see a success.
func TestStalledUploadIsNotAnsweredWithSuccess(t *testing.T) {
	e := start(t, "ALAUDA=, http: {iotimeout: 200ms}")
	for method, path := range map[string]string{
		http.MethodPut:   "/v2/team/app/manifests/v1",
		http.MethodPatch: e.startUpload(),
		http.MethodPost:  "/v2/team/app/blobs/uploads/?digest=" + digestOf([]byte("0123456789")),
	} {
		connection, err := net.Dial("tcp", strings.TrimPrefix(e.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(connection, "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 10\r\n\r\n01234", method, path, devToken)
		if err != nil {
			t.Fatal(err)
		}
		_ = connection.SetReadDeadline(time.Now().Add(10 * time.Second))
		line, err := bufio.NewReader(connection).ReadString('\n')
		if strings.Contains(line, " 2") || err != nil && err != io.EOF && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %q, %v; want the end of the connection", method, line, err)
		}
		_ = connection.Close()
	}
}

// A refusal is written before the body is read. It must reach a client that is still sending.
func TestRefusalReachesAClientThatIsStillSending(t *testing.T) {
	e := start(t)
	large := make([]byte, 32<<20)
	for range 5 {
		e.putManifest(repo, "v1", large, ociManifest).want(413, "MANIFEST_INVALID")
	}
}
