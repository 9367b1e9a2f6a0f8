package server

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

type bundle string

func (b bundle) CurrentCABundleContent() []byte { return []byte(b) }

func TestNotReadyWhileTheProxyIsUnknown(t *testing.T) {
	request := httptest.NewRequest(http.MethodGet, "/readyz", http.NoBody)
	if err := requestHeaderCheck(bundle("")).Check(request); err == nil {
		t.Error("ready without the certificate authority of the proxy")
	}
	if err := requestHeaderCheck(bundle("PEM")).Check(request); err != nil {
		t.Errorf("not ready although the proxy is known: %v", err)
	}
}
