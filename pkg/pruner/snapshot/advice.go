package snapshot

import (
	"context"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// maxAdvice bounds how long a server can make a page wait.
const maxAdvice = 2 * time.Minute

// advice is the Retry-After of a refused request.
type advice struct{ seconds atomic.Int64 }

type adviceKey struct{}

// withAdvice marks the requests of ctx as ones that are repeated here.
func withAdvice(ctx context.Context) (context.Context, *advice) {
	a := &advice{}
	return context.WithValue(ctx, adviceKey{}, a), a
}

func (a *advice) wait() time.Duration {
	return min(time.Duration(a.seconds.Load())*time.Second, maxAdvice)
}

// TakeAdvice stands between clients and their connections. A client repeats by itself what is answered with
// Retry-After, up to ten times; of pages, which are repeated here, it must not know, or each would be
// asked for sixty times.
func TakeAdvice(next http.RoundTripper) http.RoundTripper {
	return dateReader(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		a, marked := request.Context().Value(adviceKey{}).(*advice)
		if err != nil || !marked || response.StatusCode < http.StatusBadRequest {
			return response, err
		}
		if seconds, err := strconv.ParseInt(response.Header.Get("Retry-After"), 10, 32); err == nil && seconds > 0 {
			a.seconds.Store(seconds)
		}
		response.Header.Del("Retry-After")
		return response, nil
	})
}
