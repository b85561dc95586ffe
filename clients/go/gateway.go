package gatehouse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

var passedOn = []string{"RateLimit", "RateLimit-Policy", "Retry-After"}

// GatewayOptions are the options of a [Gateway]. The zero value has the defaults.
type GatewayOptions struct {
	// Token is that of a key with the scope role:service, for [Gateway.Take].
	Token string
	// Timeout is the time of a call, with the wait for its turn. Default: 30 s, because of bursts.
	Timeout time.Duration
	// ResponseTimeout is the time from the turn of a request to the last byte of the response. If
	// the gateway responds to no request for this time, those that wait end, too. Default: 2 s.
	ResponseTimeout time.Duration
	// InProgressMax is the number of requests in progress at once. Others wait for their turn.
	// Default: 64.
	InProgressMax int
	// Attempts is the number of attempts to connect. A request that was sent may have been counted:
	// it is not repeated. Default: 2.
	Attempts int
	// FailOpen is the result if the gateway makes no decision: it cannot be reached, responds too
	// late, with 408, 429 or 5xx, or not with a decision. False (fail closed): not valid, with the
	// code UNAVAILABLE, for which guards return 503. True: valid, with the code UNAVAILABLE and
	// without a key. Whoever overloads the gateway can then use the service without a key.
	FailOpen bool
	// OnError receives why a guard made no decision. Default: slog.Error.
	OnError func(error)
	// Transport sends the requests. Default: one with connections of its own.
	Transport http.RoundTripper
}

// Gateway verifies keys. Use one per process, because it reuses connections. It is safe for
// concurrent use.
type Gateway struct {
	transport   *transport
	options     GatewayOptions
	turns       chan struct{}
	respondedAt atomic.Pointer[time.Time]
}

// Verification is the decision on a key. Fields that describe the key are nil unless the key is
// known.
type Verification struct {
	VerifyReply
	// Header has the fields for the response to the client: RateLimit, RateLimit-Policy,
	// Retry-After, WWW-Authenticate.
	Header http.Header
	// Err is why there is no decision, for a log. It can contain the URL of the gateway.
	Err error
}

// Status returns the status for the client: 200 if the key is valid.
func (v *Verification) Status() int {
	if v.Valid {
		return http.StatusOK
	}
	if status, ok := statuses[v.Code]; ok {
		return status
	}
	return http.StatusForbidden
}

// Taken is the decision on limits for subjects without a key. Header and Err are as for a key.
type Taken struct {
	TakeReply
	Header http.Header
	Err    error
}

// NewGateway returns the client of the gateway with the URL.
func NewGateway(gatewayURL string, options GatewayOptions) (*Gateway, error) {
	if options.Timeout < 0 || options.ResponseTimeout < 0 || options.InProgressMax < 0 || options.Attempts < 0 {
		return nil, invalid("time limits, InProgressMax and Attempts must be positive")
	}
	options.Timeout = cmp.Or(options.Timeout, defaultTimeout)
	options.ResponseTimeout = cmp.Or(options.ResponseTimeout, defaultResponseTimeout)
	options.InProgressMax = cmp.Or(options.InProgressMax, defaultInProgressMax)
	options.Attempts = cmp.Or(options.Attempts, defaultAttempts)
	if options.OnError == nil {
		options.OnError = func(err error) { slog.Error("a key was not verified", "error", err) }
	}
	credential := ""
	if options.Token != "" {
		checked, err := checkedCredential("token", options.Token)
		if err != nil {
			return nil, err
		}
		credential, options.Token = checked, ""
	}
	client, err := newTransport("gateway", gatewayURL, credential, 1<<20, options.InProgressMax, options.Transport)
	if err != nil {
		return nil, err
	}
	return &Gateway{transport: client, options: options, turns: make(chan struct{}, options.InProgressMax)}, nil
}

// Verify returns the decision on a key and the request for which it is used. Address and Method are
// those of the client's request; otherwise, restrictions apply to the address of this service, and
// keys with methods permit every method. The error is an [*Error] if the request is malformed, or
// the URL is not that of a gateway, and that of the context if it was canceled.
func (g *Gateway) Verify(ctx context.Context, request VerifyRequest) (*Verification, error) {
	request.Token = strings.Trim(request.Token, around)
	decision := &Verification{}
	header, failed := g.post(ctx, "/v1/keys/verify", request, &decision.VerifyReply, request.Token)
	if failed == nil && !decision.Valid && decision.Code == "UNAVAILABLE" {
		failed = &Error{
			Message:    "the gateway could not make a decision",
			RequestID:  decision.RequestID,
			RetryAfter: retryAfter(header),
			undecided:  true,
		}
	}
	if failed != nil {
		headers, err := g.withoutDecision(ctx, failed)
		if err != nil {
			return nil, err
		}
		decision.VerifyReply = VerifyReply{
			Valid: g.options.FailOpen, Code: "UNAVAILABLE", Limits: []LimitReply{},
			DecidedAt: time.Now().UTC(), RequestID: failed.RequestID,
		}
		decision.Header, decision.Err = headers, failed
		return decision, nil
	}
	decision.Header = headersToPass(header)
	if decision.Status() == http.StatusUnauthorized {
		decision.Header.Set("WWW-Authenticate", challenge+`, error="invalid_token"`)
	}
	return decision, nil
}

// Take counts units of limits for subjects without a key, such as a user or an address. If one of
// the limits is exceeded, nothing is counted. dryRun: counts nothing. The error is an [*Error] if no
// limit has the name, or if the token is missing or lacks role:service.
func (g *Gateway) Take(ctx context.Context, dryRun bool, takes ...Take) (*Taken, error) {
	var subjects []string
	for _, take := range takes {
		subjects = append(subjects, take.Subject)
	}
	request := struct {
		Takes  []Take `json:"takes"`
		DryRun bool   `json:"dry_run"`
	}{takes, dryRun}
	taken := &Taken{}
	header, failed := g.post(ctx, "/v1/limits/take", request, &taken.TakeReply, subjects...)
	if failed == nil {
		taken.Header = headersToPass(header)
		return taken, nil
	}
	headers, err := g.withoutDecision(ctx, failed)
	if err != nil {
		return nil, err
	}
	reply := TakeReply{Allowed: g.options.FailOpen, Limits: []LimitReply{}, RequestID: failed.RequestID}
	return &Taken{reply, headers, failed}, nil
}

// RevokeSelf revokes the key of the token. The error has the status 401 if it is no active or
// disabled key.
func (g *Gateway) RevokeSelf(ctx context.Context, token, reason string) (*SelfRevocationResponse, error) {
	token, err := checkedCredential("token", token)
	if err != nil {
		return nil, err
	}
	request := map[string]string{"token": token, "reason": reason}
	response := &SelfRevocationResponse{}
	if _, failed := g.post(ctx, "/v1/keys/revoke-self", request, response, token); failed != nil {
		return nil, failed
	}
	return response, nil
}

// withoutDecision returns the headers of the result if there is no decision, or the error.
func (g *Gateway) withoutDecision(ctx context.Context, failed *Error) (http.Header, error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err()
	}
	if !failed.undecided {
		return nil, failed
	}
	if g.options.FailOpen {
		return http.Header{}, nil
	}
	return laterHeader(failed), nil
}

// post decodes the response into the pointer to a struct, and returns its header.
func (g *Gateway) post(
	ctx context.Context, path string, request, response any, secrets ...string,
) (http.Header, *Error) {
	body, failed := encode(request)
	if failed != nil {
		return nil, failed
	}
	received, failed := g.send(ctx, path, body)
	if failed != nil {
		return nil, failed
	}
	if received.status < 200 || received.status > 299 {
		secrets = append(secrets, g.transport.credential())
		return nil, problem(received, "gateway", redactor(secrets))
	}
	return received.header, g.transport.decode(received, response)
}

func (g *Gateway) send(ctx context.Context, path string, body []byte) (*reply, *Error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, g.options.Timeout)
	defer cancel()
	select {
	case g.turns <- struct{}{}:
		defer func() { <-g.turns }()
	case <-ctx.Done():
		return nil, g.transport.failure(ctx.Err())
	}
	responded := start
	if last := g.respondedAt.Load(); last != nil && last.After(start) {
		responded = *last
	}
	// A gateway that does not respond takes no more requests from the queue.
	if time.Since(responded) > g.options.ResponseTimeout {
		return nil, g.transport.failure(context.DeadlineExceeded)
	}
	for attempt := 1; ; attempt++ {
		received, failed := g.transport.exchange(
			ctx, g.options.ResponseTimeout, http.MethodPost, path, http.Header{}, body)
		if failed == nil {
			now := time.Now()
			g.respondedAt.Store(&now)
			return received, nil
		}
		if !failed.unsent || attempt >= g.options.Attempts || !sleep(ctx, 50*time.Millisecond) {
			return nil, failed
		}
	}
}

// sleep returns false if the context ended.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func headersToPass(header http.Header) http.Header {
	passed := http.Header{}
	for _, name := range passedOn {
		if value := header.Get(name); value != "" {
			passed.Set(name, value)
		}
	}
	return passed
}

// laterHeader returns the header of a response to a client while there is no decision.
func laterHeader(failed *Error) http.Header {
	seconds := int(failed.RetryAfter / time.Second)
	return http.Header{"Retry-After": {strconv.Itoa(max(seconds, 1))}}
}

// Format implements [fmt.Formatter].
func (g *Gateway) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "gatehouse.Gateway(%s)", g.transport.url)
}
