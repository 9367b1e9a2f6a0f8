package remote

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"image.alauda.io/api/image/reference"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/oci/remote/keyring"
	"image.alauda.io/registry/test/secondregistry"
)

// Names of hosts come from strangers: they are remembered with their limits and repeated in messages.
func TestNamesThatAreNoHostsAreNeitherRememberedNorRepeated(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 60)+".", 500) + "example.com"
	registry := secondregistry.Start(t, secondregistry.Options{})
	client := newClient(t)
	for _, target := range []string{"https://" + long + "/x", "https:///x", "https://a%20b/x", "https://exämple.com/x"} {
		registry.Answer("", "/v2/app/tags/list", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", target)
			w.WriteHeader(http.StatusTemporaryRedirect)
		})
		_, err := client.repository(t, registry.Host+"/app", true, nil).Tags(t.Context(), 0)
		if err == nil || len(err.Error()) > 200 {
			t.Errorf("a redirect to %.30q gives an error of %d bytes, want a short one", target, len(fmt.Sprint(err)))
		}
	}
	s := &source{client: client.Client, host: "registry.example.com", connect: "registry.example.com"}
	if realm, _ := s.realm(&challenge{Parameters: map[string]string{"realm": "https://" + long + "/token"}}); realm != nil {
		t.Error("the token service has a name that is none")
	}
	_, err := client.Repository(RepositoryOptions{Reference: reference.DockerImageReference{Registry: long, Name: "app"}})
	if err == nil || len(err.Error()) > 200 {
		t.Errorf("a reference with this host gives an error of %d bytes, want a short one", len(fmt.Sprint(err)))
	}
	for name := range client.hosts.known {
		if name != registry.Host {
			t.Errorf("host %.40q is remembered", name)
		}
	}
}

// A gateway would turn these addresses into the ones that are denied.
//
// Behaviour 40.
func TestDeniedAddressesAreDeniedInEveryForm(t *testing.T) {
	r, err := compile(&Settings{DeniedCIDRs: []string{"127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10"}})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"169.254.169.254": true, "::ffff:169.254.169.254": true, "fe80::1%eth0": true, "::": true, "0.0.0.0": true, "ff02::1": true,
		"64:ff9b::a9fe:a9fe": true, "64:ff9b:1::a9fe:a9fe": true, "::ffff:0:a9fe:a9fe": true, "2002:a9fe:a9fe::1": true,
		"::7f00:1": true, "64:ff9b::": true, "2002:e000:1::": true,
		"64:ff9b::808:808": false, "2002:808:808::1": false, "2001:db8::1": false, "10.0.0.1": false, "fd00::a9fe:a9fe": false,
	} {
		if got := r.denies(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is denied: %t, want %t", text, got, want)
		}
	}
}

// What a proxy makes of a name is not seen here.
//
// Behaviour 40.
func TestProxiesAreNotAskedForHostsThatSpellAnAddress(t *testing.T) {
	client := newClient(t, func(o *Options, _ *fixture) {
		o.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://proxy.example.com:3128") }
	})
	client.set(func(s *Settings) { s.DeniedCIDRs = []string{"127.0.0.0/8"} })
	for host, want := range map[string]bool{
		"localhost": false, "localhost.": false, "LOCALHOST": false, "a.localhost.": false, "127.0.0.1": false, "127.1": false,
		"2130706433": false, "0x7f000001": false, "0x7f.0.0.1": false, "127.0.0.1.": false, "[::ffff:127.0.0.1]": false,
		"registry.example.com": true, "10.0.0.5": true, "0xy.example": true, "registry1": true,
	} {
		request := &http.Request{URL: &url.URL{Scheme: "https", Host: host}}
		if proxy, err := client.proxyFor(request); (err == nil && proxy != nil) != want {
			t.Errorf("%s is asked for through the proxy: %v, %v, want %t", host, proxy, err, want)
		}
	}
}

func TestAListOfTagsTakesNoMoreMemoryThanItsPage(t *testing.T) {
	for body, want := range map[string]int{
		`{"name":"app","tags":["v1","v2"]}`: 2, `{"tags":null}`: 0, `{}`: 0,
		`{"tags":[` + strings.Repeat(`"",`, 100_000) + `"v1"]}`: 1,
		`{"tags":["` + strings.Repeat("x", 1000) + `","v1"]}`:   1,
	} {
		tags, err := parseTags([]byte(body), 10)
		if err != nil || len(tags) != want || cap(tags) > 16 {
			t.Errorf("%.40s: %d tags in room for %d, %v, want %d", body, len(tags), cap(tags), err, want)
		}
	}
	for _, body := range []string{`{"tags":[1]}`, `{"tags":{}}`, `[]`, ``, `{"tags":["v1"`, `{"tags":[["v1"]]}`} {
		if tags, err := parseTags([]byte(body), 10); err == nil {
			t.Errorf("%s is read as %v", body, tags)
		}
	}
	link := func(size int) []string {
		return []string{`</v2/app/tags/list?last=` + strings.Repeat("x", size) + `>; rel="next"`}
	}
	if nextPage(link(1000)) == nil || nextPage(link(100_000)) != nil {
		t.Error("the address of the next page is not bounded")
	}
}

func TestRefusalsOfBlobsDoNotLastForEver(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{})
	wanted := manifest.Canonical([]byte("blob"))
	registry.Answer("", "/v2/app/blobs/"+wanted.String(), func(w http.ResponseWriter, request *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		w.(http.Flusher).Flush()
		<-request.Context().Done()
	})
	client := newClient(t, func(o *Options, _ *fixture) { o.Timeouts.Request = 200 * time.Millisecond })
	ended := make(chan error, 1)
	go func() {
		_, err := client.repository(t, registry.Host+"/app", true, nil).OpenBlob(t.Context(), wanted, "")
		ended <- err
	}()
	select {
	case err := <-ended:
		wantKind(t, err, NotFound)
	case <-time.After(20 * time.Second):
		t.Error("the answer is still awaited")
	}
}

// What an own registry answers proves the right to copy from it, so nobody may say that any answer will do.
func TestOwnRegistriesAreNotInsecureBecauseAUserSaysSo(t *testing.T) {
	impostor := secondregistry.Start(t, secondregistry.Options{})
	impostor.PushImage(t, "team-b/app", "v1", secondregistry.Image{})
	var own []string
	client := newClient(t, func(o *Options, _ *fixture) { o.VerifiedHosts = func() []string { return own } })
	if _, err := client.repository(t, impostor.Host+"/team-b/app", true, nil).Manifest(t.Context(), "v1"); err != nil {
		t.Fatal(err)
	}
	own = []string{strings.ToUpper(impostor.Host)}
	impostor.Forget()
	_, err := client.repository(t, impostor.Host+"/team-b/app", true, nil).Manifest(t.Context(), "v1")
	wantKind(t, err, Network, "plain HTTP")
	if n := len(impostor.Requests()); n != 0 {
		t.Errorf("it got %d requests, want none", n)
	}
	client.set(func(s *Settings) { s.InsecureRegistries = []string{impostor.Host} })
	if _, err := client.repository(t, impostor.Host+"/team-b/app", false, nil).Manifest(t.Context(), "v1"); err != nil {
		t.Errorf("the configuration may say so: %v", err)
	}
}

// Behaviour 39.
func TestOnlyTheConfigurationLetsUnverifiedRegistriesSeeTheClustersCredentials(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{Users: map[string]string{"cluster": "right", "team": "right"}})
	registry.PushImage(t, "app", "v1", secondregistry.Image{})
	shared := keys(t, logins{registry.Host: {"cluster", "right"}}).Verified()
	client := newClient(t)
	_, err := client.repository(t, registry.Host+"/app", true, shared).Manifest(t.Context(), "v1")
	wantKind(t, err, Unauthorized, "authentication required", "credentials of the cluster")
	for _, request := range registry.Requests() {
		if request.User != "" {
			t.Errorf("%s was shown to a registry that a user calls insecure", request.User)
		}
	}
	both := keyring.Join(keys(t, logins{registry.Host: {"team", "right"}}), shared)
	if _, err := client.repository(t, registry.Host+"/app", true, both).Manifest(t.Context(), "v1"); err != nil {
		t.Errorf("the user's own credential: %v", err)
	}
	client.set(func(s *Settings) { s.InsecureRegistries = []string{registry.Host} })
	if _, err := client.repository(t, registry.Host+"/app", true, shared).Manifest(t.Context(), "v1"); err != nil {
		t.Errorf("a registry that the configuration calls insecure: %v", err)
	}
}
