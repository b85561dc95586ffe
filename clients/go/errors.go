package gatehouse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error is a request that failed: from the problem document of the service (RFC 9457), without a
// valid response, or never sent. It contains neither a credential nor a text of a library, which
// can contain what a server sent.
type Error struct {
	Message string
	// Status is 0 if there is no response.
	Status int
	// Code is stable, and empty without a problem document.
	Code string
	// RequestID is the ID to give to the operator.
	RequestID string
	Problems  []ProblemDetail
	// RetryAfter is 0 if the response has no such time.
	RetryAfter time.Duration

	undecided bool // the gateway could not decide
	unsent    bool // the request was never sent
	lost      bool // there is no valid response
}

// Error implements error.
func (e *Error) Error() string {
	text := e.Message
	for _, each := range e.Problems {
		text += fmt.Sprintf(" %s %s.", each.Location, each.Message)
	}
	return text
}

// problem returns the error of a response that is not successful.
func problem(response *reply, service string, redact func(string) string) *Error {
	status := response.status
	failed := &Error{
		Status:     status,
		RetryAfter: retryAfter(response.header),
		undecided:  status == 408 || status == 429 || status < 200 || status >= 500,
	}
	var document struct {
		Code, Detail string
		RequestID    string `json:"request_id"`
		Errors       []ProblemDetail
	}
	if json.Unmarshal(response.body, &document) != nil || document.Code == "" {
		failed.Message = fmt.Sprintf(
			"the %s returned %d without a problem document: check its URL", service, status)
		return failed
	}
	failed.Code, failed.RequestID = redact(document.Code), redact(document.RequestID)
	failed.Message = redact(document.Detail)
	if failed.Message == "" {
		failed.Message = fmt.Sprintf("the %s returned %d (%s)", service, status, failed.Code)
	}
	for _, each := range document.Errors {
		failed.Problems = append(failed.Problems,
			ProblemDetail{redact(each.Location), redact(each.Message), redact(each.Fix)})
	}
	return failed
}

// redactor removes secrets from a text of a server, which may repeat what it received.
func redactor(secrets []string) func(string) string {
	var pairs []string
	for _, secret := range secrets {
		if len(secret) < 4 { // a part of ordinary words
			continue
		}
		var escaped bytes.Buffer
		encoder := json.NewEncoder(&escaped)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(secret) // a string can be encoded
		inner := strings.TrimSpace(escaped.String())
		pairs = append(pairs, secret, "...", inner[1:len(inner)-1], "...")
	}
	return strings.NewReplacer(pairs...).Replace
}

// retryAfter returns Retry-After (RFC 9110, section 10.2.3), or 0 if it is missing or malformed.
func retryAfter(header http.Header) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if text != "" && strings.Trim(text, "0123456789") == "" {
		seconds, _ := strconv.Atoi(text[:min(len(text), 9)])
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return max(0, time.Until(date).Truncate(time.Second)+time.Second)
}
