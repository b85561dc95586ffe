package gatehouse

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"iter"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	waitMax = 20 * time.Second
	// A revocation waits for every gateway, up to the propagation bound of at most one minute.
	consoleTimeout = 75 * time.Second
)

// Console manages keys and customers with the management API. Its OpenAPI document is /openapi.json
// of the console; [Console.Call] sends any of its operations. It is safe for concurrent use.
//
// Each POST request has an Idempotency-Key, so it takes effect only once, even if it is sent
// repeatedly. The errors of all methods are of the type [*Error].
type Console struct {
	Keys      *Keys
	Customers *Customers
	// Wait is the wait before the second attempt, which doubles for each further attempt. Default:
	// 250 ms.
	Wait      time.Duration
	transport *transport
}

// Resource has the operations that keys and customers have in common: N is what creates one, C the
// result of it, V what is read, U changes, and X the result of a change. reason: for the audit trail.
type Resource[N, C, V, U, X any] struct {
	console *Console
	name    string
}

// Keys manages keys.
type Keys struct {
	Resource[CreateKey, CreatedKey, KeyView, UpdateKey, ChangedKey]
}

// Customers manages customers. Their state is that of all their keys.
type Customers struct {
	Resource[CreateCustomer, CustomerView, CustomerView, UpdateCustomer, ChangedCustomer]
}

// NewConsole returns the client of the console with the URL. token: an admin credential.
func NewConsole(consoleURL, token string) (*Console, error) {
	credential, err := checkedCredential("token", token)
	if err != nil {
		return nil, err
	}
	client, err := newTransport("console", consoleURL, credential, 64<<20, 8, nil)
	if err != nil {
		return nil, err
	}
	console := &Console{Keys: &Keys{}, Customers: &Customers{}, Wait: 250 * time.Millisecond, transport: client}
	console.Keys.console, console.Keys.name = console, "keys"
	console.Customers.console, console.Customers.name = console, "customers"
	return console, nil
}

type (
	idempotencyKey struct{}
	versionKey     struct{}
)

// WithIdempotencyKey returns a context for one POST request. To resume after a crash, store the key
// before the call and use it again: the repeated call returns the first response.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, idempotencyKey{}, key)
}

// Create returns what was created. The token of a key is in no other response.
func (r *Resource[N, C, V, U, X]) Create(ctx context.Context, values N) (*C, error) {
	return call[C](ctx, r.console, http.MethodPost, "/v1/"+r.name, values)
}

// Get returns one.
func (r *Resource[N, C, V, U, X]) Get(ctx context.Context, id string) (*V, error) {
	return call[V](ctx, r.console, http.MethodGet, r.path(id, ""), nil)
}

// List returns all, or those that a query finds, such as {"customer": {"shop"}} for keys. It reads
// one page at a time. An error is the last element.
func (r *Resource[N, C, V, U, X]) List(ctx context.Context, query url.Values) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		next := maps.Clone(query)
		for {
			page := struct {
				Keys      []V     `json:"keys,omitempty"`
				Customers []V     `json:"customers,omitempty"`
				Cursor    *string `json:"next_cursor"`
			}{}
			if err := r.console.Call(ctx, http.MethodGet, "/v1/"+r.name+"?"+next.Encode(), nil, &page); err != nil {
				yield(*new(V), err)
				return
			}
			for _, each := range append(page.Keys, page.Customers...) {
				if !yield(each, nil) {
					return
				}
			}
			if page.Cursor == nil {
				return
			}
			if next == nil {
				next = url.Values{}
			}
			next.Set("cursor", *page.Cursor)
		}
	}
}

// Update changes fields. version: that of the resource that was read. The error has the status 412
// if it has another version. The plan of a customer changes the limits and scopes of its keys.
func (r *Resource[N, C, V, U, X]) Update(ctx context.Context, id string, version int, changes U) (*X, error) {
	expected := context.WithValue(ctx, versionKey{}, version)
	return call[X](expected, r.console, http.MethodPatch, r.path(id, ""), changes)
}

// Disable returns when every gateway denies requests.
func (r *Resource[N, C, V, U, X]) Disable(ctx context.Context, id, reason string) (*X, error) {
	return call[X](ctx, r.console, http.MethodPost, r.path(id, "/disable"), because(reason))
}

// Enable ends the state disabled.
func (r *Resource[N, C, V, U, X]) Enable(ctx context.Context, id, reason string) (*X, error) {
	return call[X](ctx, r.console, http.MethodPost, r.path(id, "/enable"), because(reason))
}

// Delete returns when every gateway denies requests. Restore is possible until a purge.
func (r *Resource[N, C, V, U, X]) Delete(ctx context.Context, id, reason string) (*X, error) {
	return call[X](ctx, r.console, http.MethodDelete, r.path(id, ""), because(reason))
}

// Restore ends the state deleted.
func (r *Resource[N, C, V, U, X]) Restore(ctx context.Context, id, reason string) (*X, error) {
	return call[X](ctx, r.console, http.MethodPost, r.path(id, "/restore"), because(reason))
}

// Rotate returns a new token. The previous one works until the end of the grace period.
func (k *Keys) Rotate(ctx context.Context, id string, rotation RotateKey) (*RotatedKey, error) {
	return call[RotatedKey](ctx, k.console, http.MethodPost, k.path(id, "/rotate"), rotation)
}

// Revoke ends a key for good. It returns when every gateway denies the key.
func (k *Keys) Revoke(ctx context.Context, id, reason string) (*RevokedKey, error) {
	return call[RevokedKey](ctx, k.console, http.MethodPost, k.path(id, "/revoke"), because(reason))
}

// Purge erases up to 100 keys of a deleted customer, and the customer if none is left. Call it until
// KeysLeft is 0.
func (c *Customers) Purge(ctx context.Context, id, reason string) (*PurgedCustomer, error) {
	request := map[string]string{"confirm": id, "reason": reason}
	return call[PurgedCustomer](ctx, c.console, http.MethodPost, c.path(id, "/purge"), request)
}

// Call sends a request, and decodes the response into the pointer to a struct, unless it is nil.
// request: the body, or nil.
func (c *Console) Call(ctx context.Context, method, path string, request, response any) error {
	if text, err := url.PathUnescape(path); err != nil || tokenPart.MatchString(text) {
		return invalid("the path or the query is malformed, or contains a token or a link: send an ID or a name")
	}
	header, body, secrets := http.Header{}, []byte(nil), []string{c.transport.credential()}
	if version, ok := ctx.Value(versionKey{}).(int); ok {
		header.Set("If-Match", strconv.Quote(strconv.Itoa(version)))
	}
	if method == http.MethodPost {
		key, ok := ctx.Value(idempotencyKey{}).(string)
		if !ok {
			random := make([]byte, 16)
			_, _ = rand.Read(random) // never fails
			key = hex.EncodeToString(random)
		}
		if strings.ContainsFunc(key, func(each rune) bool { return each < ' ' || each >= 0x7f }) {
			return invalid("An idempotency key must be printable ASCII characters.")
		}
		secrets = append(secrets, key)
		header.Set("Idempotency-Key", strconv.Quote(key)) // a String (RFC 9651, section 3.3.3)
	}
	if request != nil {
		encoded, failed := encode(request)
		if failed != nil {
			return failed
		}
		body = encoded
	}
	received, failed := c.send(ctx, method, path, header, body, redactor(secrets))
	if failed == nil && response != nil {
		failed = c.transport.decode(received, response)
	}
	if failed != nil {
		return failed
	}
	return nil
}

// send repeats idempotent methods, requests with an Idempotency-Key, and requests that were never
// sent, with a growing wait that is not shorter than Retry-After.
func (c *Console) send(
	ctx context.Context, method, path string, header http.Header, body []byte, redact func(string) string,
) (*reply, *Error) {
	wait := c.Wait
	for attempt := 1; ; attempt++ {
		received, failed := c.transport.exchange(ctx, consoleTimeout, method, path, header, body)
		if failed == nil {
			if received.status >= 200 && received.status < 300 {
				return received, nil
			}
			failed = problem(received, "console", redact)
		}
		repeated := failed.unsent
		if method != http.MethodPatch {
			status := failed.Status
			repeated = failed.lost || status == 429 || status >= 502 && status <= 504 || failed.Code == "request_in_progress"
		}
		pause := max(failed.RetryAfter, time.Duration(float64(wait)*(0.5+mathrand.Float64()/2)))
		if !repeated || attempt >= attemptsMax || failed.RetryAfter > waitMax || !sleep(ctx, pause) {
			return nil, failed
		}
		wait = min(waitMax, 2*wait)
	}
}

// Format implements [fmt.Formatter].
func (c *Console) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "gatehouse.Console(%s)", c.transport.url)
}

func (r *Resource[N, C, V, U, X]) path(id, action string) string {
	return "/v1/" + r.name + "/" + url.PathEscape(id) + action
}

func call[T any](ctx context.Context, c *Console, method, path string, request any) (*T, error) {
	response := new(T)
	if err := c.Call(ctx, method, path, request, response); err != nil {
		return nil, err
	}
	return response, nil
}

func because(reason string) map[string]string { return map[string]string{"reason": reason} }
