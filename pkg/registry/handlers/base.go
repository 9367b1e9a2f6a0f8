package handlers

import "net/http"

// base answers /v2/: the caller has a valid token.
func (h *Handlers) base(req *request) error {
	return writeBytes(req, http.StatusOK, "application/json", []byte("{}"))
}
