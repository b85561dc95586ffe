package gatehouse

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

const (
	userAgent = "gatehouse-client-go"
	around    = " \t\r\n\v\f\ufeff" // white space around the text of a file
	// Attempts of a request that can be repeated.
	attemptsMax = 4
	// The gateway closes idle connections later.
	idleMax = 4 * time.Second
)

// token is a part of every token and of every link.
var tokenPart = regexp.MustCompile(
	`_(?:test|live|admin|signin|session|core)_[\w-]{20}|[0-9A-Za-z]{22}#[0-9A-Za-z]{20}`)

// transport sends requests to one service.
type transport struct {
	service, url string
	credential   func() string // a function, so that no representation contains the credential
	client       *http.Client
	bytesMax     int64
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

func newTransport(
	service, serviceURL, credential string, bytesMax int64, connections int, roundTripper http.RoundTripper,
) (*transport, error) {
	text := strings.TrimRight(strings.Trim(serviceURL, around), "/")
	parts, err := url.Parse(text)
	if err != nil || (parts.Scheme != "http" && parts.Scheme != "https") || parts.Hostname() == "" ||
		parts.User != nil || strings.ContainsAny(text, "?#") {
		return nil, invalid("The URL of the %s is not valid: pass a URL such as "+
			"https://host.example.com, without a user name, a password, a query and a fragment.", service)
	}
	if roundTripper == nil {
		roundTripper = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           connections,
			MaxIdleConnsPerHost:    connections,
			IdleConnTimeout:        idleMax,
			DisableCompression:     true, // a few bytes could take gigabytes
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	client := &http.Client{
		Transport: roundTripper,
		// A redirect must not send the credential to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &transport{service, text, func() string { return credential }, client, bytesMax}, nil
}

// checkedCredential returns a credential without the white space around it, which files have.
func checkedCredential(name, value string) (string, error) {
	text := strings.Trim(value, around)
	if text == "" {
		return "", invalid("The %s is empty: pass the credential as text.", name)
	}
	if strings.ContainsAny(text[:1], "\"'`") {
		return "", invalid("The %s is in quotation marks: remove them.", name)
	}
	for _, each := range text {
		if each <= ' ' || each >= 0x7f {
			return "", invalid("The %s contains a character that is not allowed in a credential: "+
				"only visible ASCII characters are.", name)
		}
	}
	return text, nil
}

// exchange sends a request, and returns the response, also if it is not successful.
func (t *transport) exchange(
	ctx context.Context, timeout time.Duration, method, path string, header http.Header, body []byte,
) (*reply, *Error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, method, t.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, invalid("the path or the query is malformed")
	}
	maps.Copy(request.Header, header)
	request.Header.Set("User-Agent", userAgent)
	request.Header.Set("Accept-Encoding", "identity")
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	if credential := t.credential(); credential != "" {
		request.Header.Set("Authorization", "Bearer "+credential)
	}
	response, err := t.client.Do(request)
	if err != nil {
		return nil, t.failure(err)
	}
	defer response.Body.Close()
	if coding := response.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return nil, t.noResponse("the response is compressed")
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, t.bytesMax+1))
	if err != nil {
		return nil, t.failure(err)
	}
	if int64(len(content)) > t.bytesMax {
		return nil, t.noResponse("the response is too large")
	}
	return &reply{response.StatusCode, response.Header, content}, nil
}

// failure returns the error for an error of the library, whose text can contain what was sent or
// received.
func (t *transport) failure(err error) *Error {
	var operation *net.OpError
	var certificate *tls.CertificateVerificationError
	var number syscall.Errno
	var host *net.DNSError
	text := "the connection was closed, or the response is not valid HTTP"
	switch {
	case errors.Is(err, context.Canceled):
		text = "the call was canceled"
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		text = "it did not respond in time"
	case errors.As(err, &certificate):
		text = "the certificate is not valid: " + certificate.Err.Error()
	case errors.As(err, &host):
		text = "no such host"
	case errors.As(err, &number):
		text = number.Error()
	}
	failed := t.noResponse(text)
	failed.unsent = errors.As(err, &operation) && operation.Op == "dial"
	return failed
}

func (t *transport) noResponse(reason string) *Error {
	message := fmt.Sprintf("cannot reach the %s at %s: %s", t.service, t.url, reason)
	return &Error{Message: message, undecided: true, lost: true}
}

// encode returns the JSON of a request.
func encode(request any) ([]byte, *Error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, invalid("the request cannot be encoded as JSON")
	}
	// encoding/json would send U+FFFD: another text.
	if !utf8.ValidString(fmt.Sprint(request)) {
		return nil, invalid("the request is not valid UTF-8")
	}
	return body, nil
}

// decode decodes a response into the pointer to a struct. Fields without omitempty are required,
// because the zero value would be another decision.
func (t *transport) decode(response *reply, value any) *Error {
	if json.Unmarshal(response.body, value) == nil && isComplete(response.body, reflect.TypeOf(value).Elem()) {
		return nil
	}
	return &Error{
		Message: fmt.Sprintf("%s returned an unexpected response: is it a %s of this version?",
			t.url, t.service),
		Status:     response.status,
		RetryAfter: retryAfter(response.header),
		undecided:  true,
	}
}

func isComplete(text json.RawMessage, kind reflect.Type) bool {
	isNull := string(bytes.TrimSpace(text)) == "null"
	switch {
	case isNull || kind == reflect.TypeFor[time.Time]():
		return !isNull || kind.Kind() == reflect.Pointer
	case kind.Kind() == reflect.Pointer:
		return isComplete(text, kind.Elem())
	case kind.Kind() == reflect.Slice:
		var elements []json.RawMessage
		complete := json.Unmarshal(text, &elements) == nil
		for _, each := range elements {
			complete = complete && isComplete(each, kind.Elem())
		}
		return complete
	case kind.Kind() == reflect.Struct:
		var members map[string]json.RawMessage
		complete := json.Unmarshal(text, &members) == nil
		for i := range kind.NumField() {
			name, option, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
			member, ok := members[name]
			if option != "omitempty" || ok && string(member) != "null" {
				complete = complete && ok && isComplete(member, kind.Field(i).Type)
			}
		}
		return complete
	}
	return true
}

func invalid(format string, values ...any) *Error {
	return &Error{Message: fmt.Sprintf(format, values...)}
}
