package gatehouse

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
)

const canary = "gtk_test_0canary0canary0canary0canary"

// A gateway that allows every request, and records the bodies.
func serving(t *testing.T) (*Gateway, *[]string) {
	t.Helper()
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		_, _ = r.Body.Read(body)
		bodies = append(bodies, string(body))
		_, _ = w.Write([]byte(`{"valid": true, "code": "VALID", "reason": null, "key_id": "a", "name": "a",
			"customer_id": null, "environment": "test", "scopes": ["read"], "expires_at": null, "limits": [],
			"credits": null, "shared_credits": null, "staleness_ms": 0,
			"decided_at": "2026-01-01T00:00:00Z", "request_id": "r"}`))
	}))
	t.Cleanup(server.Close)
	gateway, err := NewGateway(server.URL, GatewayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return gateway, &bodies
}

func request(method string) *http.Request {
	r := httptest.NewRequest(method, "/", nil)
	r.Header.Set("X-API-Key", canary)
	return r
}

func TestTextThatIsNotUTF8IsNotSent(t *testing.T) {
	gateway, bodies := serving(t)
	for _, request := range []VerifyRequest{
		{Token: canary + "\xff"}, {Token: "a", Scopes: Set([]string{"\xff"})}, {Token: "a", Core: Set("\xff")},
	} {
		_, err := gateway.Verify(context.Background(), request)
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", request.Token, err)
		}
	}
	if len(*bodies) != 0 {
		t.Error(*bodies)
	}
}

func TestCanceledCallIsAnErrorAndNoDecision(t *testing.T) {
	gateway, _ := serving(t)
	gateway.options.FailOpen = true
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	decision, err := gateway.Verify(ctx, VerifyRequest{Token: "a"})
	if decision != nil || !errors.Is(err, context.Canceled) {
		t.Error(decision, err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestOnlyARequestThatWasNotSentIsRepeated(t *testing.T) {
	gateway, bodies := serving(t)
	for operation, allowed := range map[string]bool{"dial": true, "read": false} {
		failed := false
		gateway.transport.client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if !failed {
				failed = true
				return nil, &net.OpError{Op: operation, Err: syscall.ECONNRESET}
			}
			return http.DefaultTransport.RoundTrip(r)
		})
		decision, err := gateway.Verify(context.Background(), VerifyRequest{Token: "a"})
		if err != nil || decision.Valid != allowed || (decision.Err == nil) != allowed {
			t.Error(operation, decision, err)
		}
	}
	if len(*bodies) != 1 {
		t.Error(*bodies)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, options := range []GatewayOptions{{Timeout: -1}, {ResponseTimeout: -1}, {InProgressMax: -1}, {Attempts: -1}} {
		if _, err := NewGateway("http://a", options); err == nil {
			t.Errorf("%+v", options)
		}
	}
}

func TestGuardsChargeTheHighestCostOnce(t *testing.T) {
	for _, test := range []struct {
		name         string
		outer, inner Route
		costs        []string
	}{
		{"same", Route{}, Route{Scopes: []string{"read"}}, []string{"1"}},
		{"another scope", Route{}, Route{Scopes: []string{"write"}}, []string{"1", "0"}},
		{"another Core", Route{}, Route{Core: "docs"}, []string{"1", "0"}},
		{"higher", Route{}, Route{Cost: Set(5)}, []string{"1", "4"}},
		{"lower", Route{Cost: Set(5)}, Route{}, []string{"5"}},
		{"nothing", Route{Cost: Set(0)}, Route{Cost: Set(0)}, []string{"0"}},
	} {
		gateway, bodies := serving(t)
		var decision *Verification
		last := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { decision = DecisionFrom(r.Context()) })
		gateway.Guard(test.outer)(gateway.Guard(test.inner)(last)).ServeHTTP(httptest.NewRecorder(), request("GET"))
		if decision == nil || len(*bodies) != len(test.costs) {
			t.Fatalf("%s: %v", test.name, *bodies)
		}
		for i, cost := range test.costs {
			if !strings.Contains((*bodies)[i], `"cost":`+cost+`,`) {
				t.Errorf("%s: %s", test.name, (*bodies)[i])
			}
		}
	}
}

func TestRequestThatMiddlewareChangesIsDecidedAgain(t *testing.T) {
	gateway, bodies := serving(t)
	last := gateway.Require()(http.NotFoundHandler())
	changes := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		changed := r.Clone(r.Context())
		changed.Method = http.MethodDelete
		last.ServeHTTP(w, changed)
	})
	gateway.Require()(changes).ServeHTTP(httptest.NewRecorder(), request("GET"))
	if len(*bodies) != 2 || !strings.Contains((*bodies)[1], `"method":"DELETE"`) {
		t.Error(*bodies)
	}
}

func TestRouteHasItsKeyHeaderCoreAndAddress(t *testing.T) {
	gateway, bodies := serving(t)
	route := Route{Core: "docs", KeyHeader: "X-Shop-Key", Address: func(*http.Request) string { return "192.0.2.9" }}
	response := httptest.NewRecorder()
	gateway.Guard(route)(http.NotFoundHandler()).ServeHTTP(response, request("GET"))
	if response.Code != http.StatusUnauthorized || len(*bodies) != 0 {
		t.Fatal(response.Code, *bodies)
	}
	other := httptest.NewRequest("GET", "/", nil)
	other.Header.Set("X-Shop-Key", canary)
	gateway.Guard(route)(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), other)
	for _, part := range []string{`"core":"docs"`, `"address":"192.0.2.9"`, canary} {
		if len(*bodies) != 1 || !strings.Contains((*bodies)[0], part) {
			t.Error(part, *bodies)
		}
	}
}

func TestKeyHeaderCanBeAuthorization(t *testing.T) {
	gateway, bodies := serving(t)
	guard := gateway.Guard(Route{KeyHeader: "authorization"})(http.NotFoundHandler())
	other := httptest.NewRequest("GET", "/", nil)
	other.Header.Set("X-API-Key", canary)
	response := httptest.NewRecorder()
	guard.ServeHTTP(response, other)
	if response.Code != http.StatusUnauthorized || len(*bodies) != 0 {
		t.Fatal(response.Code, *bodies)
	}
	other.Header.Set("Authorization", "Bearer "+canary)
	guard.ServeHTTP(httptest.NewRecorder(), other)
	if len(*bodies) != 1 || !strings.Contains((*bodies)[0], `"token":"`+canary+`"`) {
		t.Error(*bodies)
	}
}
