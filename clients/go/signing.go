package gatehouse

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// The end of a token: the ID of the key, a secret and a checksum.
const tokenBody, tokenID = 61, 12

// Sign adds the token and a signature (RFC 9421, Ed25519) to a request, for keys that require
// signatures. Its body is read completely. privateKey: an Ed25519 key in PEM format (PKCS #8)
// without a passphrase. The errors contain neither the token nor the private key. Sign a request
// again before it is repeated or redirected.
func Sign(request *http.Request, token, privateKey string) error {
	token, err := checkedCredential("token", token)
	if err != nil {
		return err
	}
	end := token[strings.LastIndexByte(token, '_')+1:]
	if len(end) != tokenBody {
		return invalid("the token is not a Gatehouse API key")
	}
	block, _ := pem.Decode([]byte(strings.Trim(privateKey, around) + "\n"))
	if block == nil {
		return errPrivateKey()
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return errPrivateKey()
	}
	target, failed := targetURI(request)
	if failed != nil {
		return failed
	}
	body, err := readBody(request)
	if err != nil {
		return err
	}
	covered := [][2]string{{"@method", request.Method}, {"@target-uri", target}}
	if covered[0][1] == "" {
		covered[0][1] = http.MethodGet
	}
	if len(body) > 0 {
		sum := sha256.Sum256(body)
		digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":" // RFC 9530
		request.Header.Set("Content-Digest", digest)
		covered = append(covered, [2]string{"content-digest", digest})
	}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails
	var names []string
	var base strings.Builder
	for _, each := range covered {
		names = append(names, `"`+each[0]+`"`)
		fmt.Fprintf(&base, "\"%s\": %s\n", each[0], each[1])
	}
	params := fmt.Sprintf(`(%s);created=%d;nonce="%s";keyid="%s";tag="gatehouse"`,
		strings.Join(names, " "), time.Now().Unix(), base64.RawURLEncoding.EncodeToString(nonce), end[:tokenID])
	fmt.Fprintf(&base, `"@signature-params": %s`, params)
	signature := base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(base.String())))
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Signature-Input", "gatehouse="+params)
	request.Header.Set("Signature", "gatehouse=:"+signature+":")
	return nil
}

// targetURI returns the URL as it is sent, without the default port, and with the host in lowercase
// (RFC 9421, section 2.2.3).
func targetURI(request *http.Request) (string, *Error) {
	scheme, host := request.URL.Scheme, strings.ToLower(request.URL.Host)
	if scheme != "http" && scheme != "https" || host == "" {
		return "", invalid("the request cannot be signed: the URL must be absolute")
	}
	port := map[string]string{"http": ":80", "https": ":443"}[scheme]
	return scheme + "://" + strings.TrimSuffix(host, port) + request.URL.RequestURI(), nil
}

func readBody(request *http.Request) ([]byte, error) {
	if request.Body == nil || request.Body == http.NoBody {
		return nil, nil
	}
	body, err := io.ReadAll(request.Body)
	_ = request.Body.Close()
	request.Body = io.NopCloser(bytes.NewReader(body))
	request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	request.ContentLength = int64(len(body))
	return body, err
}

func errPrivateKey() *Error {
	return invalid("the private key is not an Ed25519 key in PEM format without a passphrase")
}
