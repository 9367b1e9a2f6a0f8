// Package auth decides who a request comes from and what it may do.
//
// In come the Authorization header and the access that a route needs; out comes an
// Identity or a refusal with the right status and challenge. Tokens are verified by a
// TokenReview and access by a SubjectAccessReview, both made with the registry's own
// account through the Reviewer interface; results are cached for seconds, equal
// questions asked at the same time are asked once, and a review that cannot be made
// is a 503 and never cached. The reviews that run at the same time are bounded, for
// everybody and for each source of requests.
//
// A client's token goes into a TokenReview and nowhere else: caches hold its hash,
// and no log line, error or metric holds any part of it.
package auth
