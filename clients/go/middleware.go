package gatehouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const challenge = `Bearer realm="gatehouse"`

var texts = map[string]string{
	"NOT_FOUND":                "The API key is unknown",
	"DISABLED":                 "The API key is disabled",
	"EXPIRED":                  "The API key has expired",
	"FORBIDDEN":                "The API key does not permit this request",
	"INSUFFICIENT_PERMISSIONS": "The API key lacks a required scope",
	"SIGNATURE_INVALID":        "The API key requires signed requests, and the signature is missing or invalid",
	"RATE_LIMITED":             "A rate limit of the API key is exceeded",
	"USAGE_EXCEEDED":           "The credits of the API key are used up",
	"UNAVAILABLE":              "The verification of API keys is temporarily unavailable",
}

// malformed is what is wrong with a request, by the field that the gateway rejects.
var malformed = map[string]string{
	"body.token":  "The API key is malformed.",
	"body.method": "The method is not supported.",
}

var titles = map[int]string{
	400: "The request is malformed",
	401: "A valid credential is required",
	402: "The credits of the key are used up",
	403: "The credential does not allow this action",
	429: "A rate limit is exceeded",
	503: "A dependency is not available",
}

// Route is what the guard of a route requires.
type Route struct {
	// Scopes are those that the key must have.
	Scopes []string
	// Core is the Core that the key must be allowed to access.
	Core string
	// Cost is the number of credits of a request. Default: 1. 0: nothing is counted.
	Cost Optional[int]
	// KeyHeader is the only header in which the key is read. Default: Authorization and X-API-Key.
	KeyHeader string
	// Address returns the IP address of the client. Default: that of the connection. Behind a proxy,
	// read the header that your proxy sets.
	Address func(*http.Request) string
}

type contextKey struct{}

// guarded is the decision on a request, which is charged once although several guards decide.
type guarded struct {
	question question
	cost     int
	decision *Verification
}

// question is what a decision depends on, besides the scopes.
type question struct{ gatewayURL, token, address, method, core string }

// denial is the response to a request without permission: a problem document (RFC 9457).
type denial struct {
	status       int
	code, detail string
	header       http.Header
	requestID    string
}

// DecisionFrom returns the decision of the guard on the request with this context, or nil.
func DecisionFrom(ctx context.Context) *Verification {
	if state, ok := ctx.Value(contextKey{}).(*guarded); ok {
		return state.decision
	}
	return nil
}

// Require returns a guard that requires a key with the scopes:
//
//	mux.Handle("GET /orders", gateway.Require("orders:read")(orders))
//
// Guard each route: a router accepts other spellings of a path than code that compares it.
func (g *Gateway) Require(scopes ...string) func(http.Handler) http.Handler {
	return g.Guard(Route{Scopes: scopes})
}

// Guard returns a guard with the options of a route. [DecisionFrom] returns its decision. A request
// with several guards is charged once, with the highest of their costs.
func (g *Gateway) Guard(route Route) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			state, denied := g.decide(r, route)
			if denied != nil {
				denied.write(w)
				return
			}
			maps.Copy(w.Header(), state.decision.Header)
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, state)))
		})
	}
}

func (g *Gateway) decide(r *http.Request, route Route) (*guarded, *denial) {
	token, denied := presentedToken(r.Header, route.KeyHeader)
	if denied != nil {
		return nil, denied
	}
	asked := question{g.transport.url, token, clientAddress(r, route), r.Method, route.Core}
	state := &guarded{question: asked, cost: route.Cost.Or(1)}
	cost := state.cost
	earlier, ok := r.Context().Value(contextKey{}).(*guarded)
	if ok && earlier.question.token == token {
		// A request that has been allowed is charged. Another key of the request is charged, too.
		cost = max(0, state.cost-earlier.cost)
		state.cost = max(state.cost, earlier.cost)
		if cost == 0 && earlier.covers(asked, route.Scopes) {
			return earlier, nil
		}
	}
	request := VerifyRequest{Token: token, Cost: Set(cost), Method: Set(r.Method)}
	request.Scopes = Set(append([]string{}, route.Scopes...))
	if asked.address != "" {
		request.Address = Set(asked.address)
	}
	if route.Core != "" {
		request.Core = Set(route.Core)
	}
	decision, err := g.Verify(r.Context(), request)
	if err != nil {
		return nil, g.undecided(err)
	}
	if decision.Err != nil {
		g.options.OnError(decision.Err)
	}
	state.decision = decision
	if decision.Valid {
		return state, nil
	}
	detail, ok := texts[decision.Code]
	if !ok {
		detail = texts["FORBIDDEN"]
	}
	if decision.Reason != nil {
		detail += ": " + *decision.Reason
	}
	return nil, &denial{
		status: decision.Status(), code: decision.Code, detail: detail,
		header: decision.Header, requestID: decision.RequestID,
	}
}

// covers reports whether the decision is also that on another guard of the same request.
func (s *guarded) covers(asked question, scopes []string) bool {
	return s.question == asked && s.decision.Scopes != nil && !slices.ContainsFunc(scopes,
		func(scope string) bool { return !slices.Contains(*s.decision.Scopes, scope) })
}

// undecided returns the response if the gateway made no decision: 400 if the token or the method is
// malformed. Any other error is one of the configuration, of which the client learns nothing.
func (g *Gateway) undecided(err error) *denial {
	g.options.OnError(err)
	failed := &Error{}
	if errors.As(err, &failed) {
		for _, each := range failed.Problems {
			if detail, ok := malformed[each.Location]; ok && failed.Status == http.StatusBadRequest {
				return &denial{status: 400, code: failed.Code, detail: detail, requestID: failed.RequestID}
			}
		}
	}
	return &denial{status: 503, code: "UNAVAILABLE", detail: texts["UNAVAILABLE"], header: laterHeader(failed)}
}

func (d *denial) write(w http.ResponseWriter) {
	body, _ := json.Marshal(map[string]any{ // strings and a number can be encoded
		"type":       "urn:gatehouse:problem:" + strings.ToLower(d.code),
		"title":      titles[d.status],
		"status":     d.status,
		"detail":     d.detail,
		"code":       d.code,
		"request_id": d.requestID,
	})
	maps.Copy(w.Header(), d.header)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(d.status)
	_, _ = w.Write(body) // the client may have left
}

// presentedToken returns the key of a request, or the response if there is none or more than one.
func presentedToken(header http.Header, keyHeader string) (string, *denial) {
	authorization, keys := header.Values("Authorization"), header.Values("X-API-Key")
	form := "`Authorization: Bearer <key>` or as `X-API-Key: <key>`"
	if strings.EqualFold(keyHeader, "Authorization") {
		keys, form = nil, "`Authorization: Bearer <key>`"
	} else if keyHeader != "" {
		authorization, keys = nil, header.Values(keyHeader)
		form = fmt.Sprintf("`%s: <key>`", keyHeader)
	}
	var found []string
	for _, value := range keys {
		found = append(found, strings.TrimSpace(value))
	}
	for _, value := range authorization {
		scheme, credential, _ := strings.Cut(value, " ")
		if strings.EqualFold(scheme, "bearer") {
			found = append(found, strings.TrimSpace(credential))
		}
	}
	if strings.Join(found, "") == "" {
		detail := "An API key is required: send it once, as " + form
		missing := http.Header{"Www-Authenticate": {challenge}}
		return "", &denial{status: 401, code: "unauthorized", detail: detail, header: missing}
	}
	if len(authorization) > 1 || len(keys) > 1 || strings.Contains(found[0], ",") ||
		len(slices.Compact(found)) > 1 {
		return "", &denial{status: 400, code: "bad_request", detail: "Send one API key, once."}
	}
	return found[0], nil
}

// clientAddress returns an IP address without the zone, or nothing for the client of a Unix socket.
func clientAddress(r *http.Request, route Route) string {
	text, _, err := net.SplitHostPort(r.RemoteAddr)
	if route.Address != nil {
		text, err = route.Address(r), nil
	}
	address, invalidAddress := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil || invalidAddress != nil {
		return ""
	}
	return address.WithZone("").String()
}
