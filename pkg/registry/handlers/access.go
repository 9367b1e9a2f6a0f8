package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/route"
)

// onlyUnreferenced is the parameter by which the pruner asks for a careful delete.
const onlyUnreferenced = "onlyunreferenced"

// requirement is what a route asks of its caller. No access means that a valid token
// is enough.
type requirement struct {
	access auth.Attributes
	// alternative, when set, is tried after access and makes a pruner request.
	alternative *auth.Attributes
	needsAccess bool
	// deed completes "this is a pull credential and cannot …"; empty for pulls.
	deed string
	// scope is the scope of the challenge.
	scope string
}

// require is the table of checks by route and method.
func require(r *http.Request, matched route.Route) requirement {
	ns, stream := matched.Name.Namespace, matched.Name.Stream
	scope := "repository:" + matched.Name.String() + ":"
	switch {
	case matched.Kind == route.Base:
		return requirement{}
	case matched.Kind == route.Catalog:
		return requirement{deed: "list repositories", scope: "registry:catalog:*"}
	case matched.Kind == route.AdminBlob || matched.Kind == route.AdminGC || matched.Kind == route.AdminGCReport:
		return requirement{access: auth.Prune(), needsAccess: true, deed: adminDeed(matched)}
	case r.Method == http.MethodDelete && matched.Kind == route.Manifest && matched.Tag != "":
		return requirement{access: auth.DeleteTag(ns, stream, matched.Tag), needsAccess: true, deed: "delete", scope: scope + "delete"}
	case r.Method == http.MethodDelete && (matched.Kind == route.Manifest || matched.Kind == route.Blob):
		prune := auth.Prune()
		return requirement{access: auth.Layers("delete", ns, stream), alternative: &prune, needsAccess: true, deed: "delete", scope: scope + "delete"}
	case matched.Kind == route.Signatures && isWrite(r.Method):
		everywhere := auth.CreateSignature("", "")
		return requirement{access: auth.CreateSignature(ns, stream), alternative: &everywhere, needsAccess: true, deed: "write signatures", scope: scope + "pull,push"}
	case matched.Kind == route.UploadStart || matched.Kind == route.Upload || isWrite(r.Method):
		scope += "pull,push"
		if from := r.URL.Query().Get("from"); matched.Kind == route.UploadStart && from != "" {
			if source, err := route.ParseName(from, ""); err == nil {
				scope += " repository:" + source.String() + ":pull"
			}
		}
		return requirement{access: auth.Layers("update", ns, stream), needsAccess: true, deed: "push", scope: scope}
	}
	return requirement{access: auth.Layers("get", ns, stream), needsAccess: true, scope: scope + "pull"}
}

// admit authenticates and authorizes the request.
func (h *Handlers) admit(req *request) error {
	required := require(req.Request, req.route)
	if err := h.authenticate(req, required); err != nil {
		return err
	}
	if req.identity.PullOnly && required.deed != "" {
		return pullOnly(req.identity, required.deed)
	}
	if !required.needsAccess {
		return nil
	}
	return h.authorize(req, required)
}

func (h *Handlers) authenticate(req *request, required requirement) error {
	identity, err := h.Authenticator.Authenticate(req.Context(), req.Header)
	switch {
	case err == nil:
		req.identity = identity
		return nil
	case errors.Is(err, auth.ErrNoCredentials):
		return h.unauthorized(req, required, "", "authentication required")
	case errors.Is(err, auth.ErrInvalidCredentials):
		return h.unauthorized(req, required, "invalid_token", "the credentials are not valid")
	}
	return reviewFailed(err)
}

func reviewFailed(err error) error {
	return apierror.Unavailable(err, "credentials and permissions cannot be verified at the moment, try again")
}

func (h *Handlers) authorize(req *request, required requirement) error {
	decision, err := h.Authorizer.Authorize(req.Context(), req.identity, required.access)
	if err != nil {
		return reviewFailed(err)
	}
	if decision.Allowed {
		req.pruner = required.alternative != nil && req.URL.Query().Get(onlyUnreferenced) == "true"
		return nil
	}
	if required.alternative != nil {
		other, err := h.Authorizer.Authorize(req.Context(), req.identity, *required.alternative)
		if err != nil {
			return reviewFailed(err)
		}
		if other.Allowed {
			req.pruner = true
			return nil
		}
	}
	return h.denied(req, required, decision)
}

func (h *Handlers) denied(req *request, required requirement, decision auth.Decision) error {
	if req.identity.IsAnonymous() {
		return h.unauthorized(req, required, "insufficient_scope", "authentication required")
	}
	message := fmt.Sprintf("user %q cannot %s", req.identity.Username, required.access)
	if decision.Reason != "" {
		message += ": " + decision.Reason
	}
	return apierror.New(http.StatusForbidden, apierror.CodeDenied, "%s", message).WithDetail(detail(required.scope))
}

func (h *Handlers) unauthorized(req *request, required requirement, problem, message string) error {
	return apierror.New(http.StatusUnauthorized, apierror.CodeUnauthorized, "%s", message).
		WithHeader("WWW-Authenticate", h.Challenge.Bearer(req.Request, required.scope, problem)).
		WithDetail(detail(required.scope))
}

// pullOnly refuses what a managed pull credential must not do and says what to use.
func pullOnly(identity auth.Identity, deed string) error {
	namespace, account := "<namespace>", "<serviceaccount>"
	if parts := strings.Split(identity.Username, ":"); len(parts) == 4 && parts[1] == "serviceaccount" {
		namespace, account = parts[2], parts[3]
	}
	return apierror.New(http.StatusForbidden, apierror.CodeDenied,
		"this is a pull credential and cannot %s; use a token of your own, for example: kubectl create token %s -n %s", deed, account, namespace)
}

// accessDetail is the detail of 401 and 403.
type accessDetail struct {
	Type   string
	Name   string
	Action string
}

// detail takes a scope apart: "repository:a/b:pull,push repository:c/d:pull".
func detail(scope string) any {
	var list []accessDetail
	for one := range strings.FieldsSeq(scope) {
		parts := strings.SplitN(one, ":", 3)
		if len(parts) != 3 {
			continue
		}
		for action := range strings.SplitSeq(parts[2], ",") {
			list = append(list, accessDetail{Type: parts[0], Name: parts[1], Action: action})
		}
	}
	if list == nil {
		return nil
	}
	return list
}

// metrics serves the metrics to callers with the secret or the permission.
func (h *Handlers) metrics(req *request) error {
	if token, ok := auth.Credential(req.Header.Get("Authorization")); ok && h.MetricsSecret != "" && equal(token, h.MetricsSecret) {
		h.Metrics.ServeHTTP(req.w, req.Request)
		return nil
	}
	if err := h.authenticate(req, requirement{}); err != nil {
		return err
	}
	required := requirement{access: auth.Metrics()[0], deed: "read metrics"}
	if req.identity.PullOnly {
		return pullOnly(req.identity, required.deed)
	}
	for _, attributes := range auth.Metrics() {
		decision, err := h.Authorizer.Authorize(req.Context(), req.identity, attributes)
		if err != nil {
			return reviewFailed(err)
		}
		if decision.Allowed {
			h.Metrics.ServeHTTP(req.w, req.Request)
			return nil
		}
	}
	return h.denied(req, required, auth.Decision{})
}
