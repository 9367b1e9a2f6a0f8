package certificates

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"
)

// publication is the trust bundle as clients can read it. Its ConfigMap notes of each certificate since when
// it is there, and of those that nobody wants any more until when they stay. Certificates without a note were
// put there by somebody else, and are nobody's reason to trust them.
type publication struct {
	certs        []*x509.Certificate
	since, until map[string]time.Time
}

func readPublication(in Input) publication {
	p := publication{since: map[string]time.Time{}, until: map[string]time.Time{}}
	if in.Published == nil {
		return p
	}
	p.certs = certificatesIn([]byte(in.Published.Data[BundleKey]))
	p.since = readTimes(in.Published.Annotations[sinceAnnotation])
	p.until = readTimes(in.Published.Annotations[previousAnnotation])
	return p
}

func (p publication) has(cert *x509.Certificate) bool { return contains(p.certs, cert) }

// knownSince is when clients could first read cert: now, if they cannot yet. A moment in the future was noted
// by a clock that was ahead.
func (p publication) knownSince(cert *x509.Certificate, now time.Time) time.Time {
	at, noted := p.since[fingerprint(cert)]
	if !noted || at.After(now) || !p.has(cert) {
		return whole(now)
	}
	return at
}

// bundle is what is to be published: what is wanted, and for a while what was published and is lost, because
// servers may still show certificates of it. What ended as planned does not stay.
type bundle struct {
	certs []*x509.Certificate
	pem   []byte
	notes map[string]string
	// changes is when the first of the lost ones goes; zero if there is none.
	changes time.Time
}

func (p publication) next(in Input, wanted []*x509.Certificate, ended map[string]bool) bundle {
	since, until := map[string]time.Time{}, map[string]time.Time{}
	var b bundle
	for _, cert := range wanted {
		if !contains(b.certs, cert) {
			b.certs = append(b.certs, cert)
		}
	}
	for _, cert := range p.certs {
		id := fingerprint(cert)
		if _, noted := p.since[id]; !noted || ended[id] || contains(b.certs, cert) || !in.Now.Before(cert.NotAfter) {
			continue
		}
		end, known := p.until[id]
		if latest := whole(in.Now.Add(in.Lifetimes.linger())); !known || end.After(latest) {
			end = latest
		}
		if !in.Now.Before(end) {
			continue
		}
		b.certs, until[id] = append(b.certs, cert), end
		if b.changes.IsZero() || end.Before(b.changes) {
			b.changes = end
		}
	}
	for _, cert := range b.certs {
		since[fingerprint(cert)] = p.knownSince(cert, in.Now)
	}
	b.pem = encodeCertificates(b.certs)
	b.notes = map[string]string{sinceAnnotation: writeTimes(since), previousAnnotation: writeTimes(until)}
	return b
}

// remembered is the bundle as it stands beside the generated pairs.
func remembered(in Input) []*x509.Certificate {
	var certs []*x509.Certificate
	for _, spec := range leafSpecs() {
		live := in.Leaves[spec.secret]
		if live == nil || !owned(live) {
			continue
		}
		for _, cert := range certificatesIn(live.Data[leafCAKey]) {
			if in.Now.Before(cert.NotAfter) {
				certs = append(certs, cert)
			}
		}
	}
	return certs
}

// readTimes reads "<fingerprint>=<time>,…" and skips what it cannot read.
func readTimes(text string) map[string]time.Time {
	times := map[string]time.Time{}
	for _, entry := range strings.Split(text, ",") {
		id, value, _ := strings.Cut(entry, "=")
		if at, err := time.Parse(time.RFC3339, value); err == nil {
			times[id] = at.UTC()
		}
	}
	return times
}

func writeTimes(times map[string]time.Time) string {
	entries := make([]string, 0, len(times))
	for id, at := range times {
		entries = append(entries, id+"="+at.UTC().Format(time.RFC3339))
	}
	slices.Sort(entries)
	return strings.Join(entries, ",")
}

// whole is t as it can be written down.
func whole(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func contains(certs []*x509.Certificate, cert *x509.Certificate) bool {
	return slices.ContainsFunc(certs, cert.Equal)
}
