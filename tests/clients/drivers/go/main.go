// Driver of the Go client. Reads a call from each line of standard input, and writes its outcome as
// a line of JSON (tests/clients/behaviour.py). With the arguments `serve`, the URL of a gateway, a
// folder of files and a scope that every request needs, it is the service of
// tests/clients/python/services.py.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	gatehouse "gatehouse.example/clients/go"
)

type call struct {
	Operation, URL, Token, Method string
	Options                       struct {
		Token             string `json:"token"`
		TimeoutMS         int    `json:"timeout_ms"`
		ResponseTimeoutMS int    `json:"response_timeout_ms"`
		InProgressMax     int    `json:"in_progress_max"`
		FailOpen          bool   `json:"fail_open"`
	}
	Arguments json.RawMessage
}

type outcome map[string]any

var texts bytes.Buffer

func show(value any) { fmt.Fprintf(&texts, "%v %+v %#v\n", value, value, value) }

func main() {
	if len(os.Args) > 1 {
		log.Fatal(serve(os.Args[2], os.Args[3], os.Args[4]))
	}
	log.SetOutput(&texts) // slog, too
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		texts.Reset()
		var request call
		must(json.Unmarshal(line, &request))
		result, err := run(request)
		if err != nil {
			show(err)
			failed := &gatehouse.Error{}
			errors.As(err, &failed)
			show(*failed)
			result = outcome{"raised": true, "status": failed.Status}
		}
		result["texts"] = texts.String()
		must(json.NewEncoder(os.Stdout).Encode(result))
	}
}

func run(request call) (outcome, error) {
	if request.Operation == "console" {
		return console(request)
	}
	if request.Operation == "sign" {
		return sign(request.Arguments)
	}
	milliseconds := func(value int) time.Duration { return time.Duration(value) * time.Millisecond }
	options := request.Options
	gateway, err := gatehouse.NewGateway(request.URL, gatehouse.GatewayOptions{
		Token:           options.Token,
		Timeout:         milliseconds(options.TimeoutMS),
		ResponseTimeout: milliseconds(options.ResponseTimeoutMS),
		InProgressMax:   options.InProgressMax,
		FailOpen:        options.FailOpen,
	})
	if err != nil {
		return nil, err
	}
	show(gateway)
	ctx := context.Background()
	switch request.Operation {
	case "verify":
		var values struct {
			Token   string
			Scopes  []string
			Cost    *int
			Address string
			Method  string
		}
		must(json.Unmarshal(request.Arguments, &values))
		verify := gatehouse.VerifyRequest{Token: values.Token}
		if values.Scopes != nil {
			verify.Scopes = gatehouse.Set(values.Scopes)
		}
		if values.Cost != nil {
			verify.Cost = gatehouse.Set(*values.Cost)
		}
		if values.Address != "" {
			verify.Address, verify.Method = gatehouse.Set(values.Address), gatehouse.Set(values.Method)
		}
		result, err := gateway.Verify(ctx, verify)
		if err != nil {
			return nil, err
		}
		show(*result)
		return outcome{
			"raised": false, "headers": lowercase(result.Header), "undecided": result.Err != nil, "valid": result.Valid,
			"code": result.Code, "status": result.Status(), "customer": result.CustomerID,
		}, nil
	case "take":
		var values struct {
			Takes []struct {
				Limit, Subject string
				Cost           int
			}
			DryRun bool `json:"dry_run"`
		}
		must(json.Unmarshal(request.Arguments, &values))
		var takes []gatehouse.Take
		for _, each := range values.Takes {
			takes = append(takes, gatehouse.Take{Limit: each.Limit, Subject: each.Subject, Cost: gatehouse.Set(each.Cost)})
		}
		result, err := gateway.Take(ctx, values.DryRun, takes...)
		if err != nil {
			return nil, err
		}
		show(*result)
		return outcome{
			"raised": false, "headers": lowercase(result.Header), "undecided": result.Err != nil, "allowed": result.Allowed,
		}, nil
	case "guard":
		return guard(gateway, request.Arguments), nil
	case "burst":
		var values struct{ Count int }
		must(json.Unmarshal(request.Arguments, &values))
		codes, lock, group := map[string]int{}, sync.Mutex{}, sync.WaitGroup{}
		for range values.Count {
			group.Add(1)
			go func() {
				defer group.Done()
				result, err := gateway.Verify(ctx, gatehouse.VerifyRequest{Token: "a"})
				must(err)
				lock.Lock()
				codes[result.Code]++
				lock.Unlock()
			}()
		}
		group.Wait()
		return outcome{"raised": false, "codes": codes}, nil
	}
	return outcome{"missing": request.Operation}, nil
}

func guard(gateway *gatehouse.Gateway, arguments json.RawMessage) outcome {
	var values struct {
		Method, Address string
		Headers         [][2]string
		Scopes          []string
	}
	must(json.Unmarshal(arguments, &values))
	request, response := httptest.NewRequest(values.Method, "/", nil), httptest.NewRecorder()
	request.RemoteAddr = net.JoinHostPort(values.Address, "1")
	for _, each := range values.Headers {
		request.Header.Add(each[0], each[1])
	}
	gateway.Require(values.Scopes...)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(response, request)
	var document any
	_ = json.Unmarshal(response.Body.Bytes(), &document)
	return outcome{"raised": false, "status": response.Code, "headers": lowercase(response.Header()), "document": document}
}

func console(request call) (outcome, error) {
	client, err := gatehouse.NewConsole(request.URL, request.Token)
	if err != nil {
		return nil, err
	}
	client.Wait = time.Millisecond
	show(client)
	var values struct {
		ID, Name, Customer, Reason string
		KeyID                      string `json:"key_id"`
		CustomerID                 string `json:"customer_id"`
		Version                    int
		GraceS                     int             `json:"grace_s"`
		Plan                       json.RawMessage `json:"plan"`
		IdempotencyKey             string          `json:"idempotency_key"`
		Tags                       []string
	}
	must(json.Unmarshal(request.Arguments, &values))
	ctx := context.Background()
	if values.IdempotencyKey != "" {
		ctx = gatehouse.WithIdempotencyKey(ctx, values.IdempotencyKey)
	}
	query := url.Values{}
	if values.Customer != "" {
		query.Set("customer", values.Customer)
	}
	var result any
	var ids []string
	switch request.Method {
	case "create_key":
		created := gatehouse.CreateKey{Name: values.Name}
		if values.CustomerID != "" {
			created.CustomerID = gatehouse.Set(values.CustomerID)
		}
		result, err = client.Keys.Create(ctx, created)
	case "key":
		result, err = client.Keys.Get(ctx, values.KeyID)
	case "keys":
		for key, failed := range client.Keys.List(ctx, query) {
			ids, err = append(ids, key.ID), failed
		}
	case "update_key":
		changes := gatehouse.UpdateKey{Name: gatehouse.Set(values.Name)}
		if string(values.Plan) == "null" {
			changes.Plan = gatehouse.Null[string]()
		}
		if values.Tags != nil {
			changes.Tags = gatehouse.Set(values.Tags)
		}
		result, err = client.Keys.Update(ctx, values.KeyID, values.Version, changes)
	case "rotate_key":
		result, err = client.Keys.Rotate(ctx, values.KeyID, gatehouse.RotateKey{GraceSeconds: gatehouse.Set(values.GraceS)})
	case "revoke_key":
		result, err = client.Keys.Revoke(ctx, values.KeyID, values.Reason)
	case "disable_key":
		result, err = client.Keys.Disable(ctx, values.KeyID, values.Reason)
	case "enable_key":
		result, err = client.Keys.Enable(ctx, values.KeyID, values.Reason)
	case "delete_key":
		result, err = client.Keys.Delete(ctx, values.KeyID, values.Reason)
	case "create_customer":
		result, err = client.Customers.Create(ctx, gatehouse.CreateCustomer{ID: values.ID})
	case "customer":
		result, err = client.Customers.Get(ctx, values.CustomerID)
	case "customers":
		for customer, failed := range client.Customers.List(ctx, query) {
			ids, err = append(ids, customer.ID), failed
		}
	case "update_customer":
		changes := gatehouse.UpdateCustomer{Name: gatehouse.Set(values.Name)}
		result, err = client.Customers.Update(ctx, values.CustomerID, values.Version, changes)
	case "disable_customer":
		result, err = client.Customers.Disable(ctx, values.CustomerID, values.Reason)
	case "enable_customer":
		result, err = client.Customers.Enable(ctx, values.CustomerID, values.Reason)
	case "delete_customer":
		result, err = client.Customers.Delete(ctx, values.CustomerID, values.Reason)
	case "restore_customer":
		result, err = client.Customers.Restore(ctx, values.CustomerID, values.Reason)
	case "purge_customer":
		result, err = client.Customers.Purge(ctx, values.CustomerID, values.Reason)
	default:
		return outcome{"missing": request.Method}, nil
	}
	if err != nil {
		return nil, err
	}
	if created, ok := result.(*gatehouse.CreatedKey); ok {
		show(*created)
		must(json.NewEncoder(&texts).Encode(created))
	}
	return outcome{"raised": false, "ids": ids}, nil
}

func sign(arguments json.RawMessage) (outcome, error) {
	var values struct {
		Method, URL, Body, Token string
		PrivateKey               string `json:"private_key"`
	}
	must(json.Unmarshal(arguments, &values))
	request, err := http.NewRequest(values.Method, values.URL, strings.NewReader(values.Body))
	if err != nil {
		return nil, errors.New("malformed")
	}
	if err := gatehouse.Sign(request, values.Token, values.PrivateKey); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(request.Body)
	must(err)
	if string(body) != values.Body {
		return nil, errors.New("the body has changed")
	}
	headers := lowercase(request.Header)
	delete(headers, "authorization")
	return outcome{"raised": false, "headers": headers}, nil
}

func lowercase(header http.Header) map[string]string {
	fields := map[string]string{}
	for name := range header {
		fields[strings.ToLower(name)] = header.Get(name)
	}
	return fields
}

// serve prints the port of the service.
func serve(gatewayURL, files, scope string) error {
	gateway, err := gatehouse.NewGateway(gatewayURL, gatehouse.GatewayOptions{})
	must(err)
	content := func(scope string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			customer := "None"
			if decision := gatehouse.DecisionFrom(r.Context()); decision != nil && decision.CustomerID != nil {
				customer = *decision.CustomerID
			}
			w.Header().Set("Content", scope)
			fmt.Fprintf(w, "orders of %s", customer)
		})
	}
	route := func(scope string) http.Handler { return gateway.Require(scope)(content(scope)) }
	mounted := http.NewServeMux()
	mounted.Handle("/api/orders", route("mounted:read"))
	scopes := []string{"mounted:read"}
	priced := gatehouse.Route{Scopes: scopes, Core: "docs", Cost: gatehouse.Set(5)}
	mounted.Handle("/priced", gateway.Guard(priced)(content("mounted:read")))
	partner := gatehouse.Route{Scopes: scopes, KeyHeader: "X-Partner-Key"}
	mounted.Handle("/partner", gateway.Guard(partner)(content("mounted:read")))
	mux := http.NewServeMux()
	mux.Handle("GET /api/orders", route("orders:read"))
	mux.Handle("POST /api/orders", route("orders:write"))
	mux.Handle("/api/items/{name}", route("items:read"))
	mux.Handle("/files/", gateway.Require("files:read")(http.StripPrefix("/files", http.FileServer(http.Dir(files)))))
	mux.Handle("/mounted/", http.StripPrefix("/mounted", mounted))
	mux.Handle("/health", content("open"))
	var handler http.Handler = mux
	if scope != "" {
		handler = gateway.Require(scope)(mux)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	return http.Serve(listener, handler)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
