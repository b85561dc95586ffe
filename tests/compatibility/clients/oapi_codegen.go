// The same calls with the clients that oapi-codegen generates.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"example.test/clients/console"
	"example.test/clients/gateway"
	"example.test/clients/sharing"
)

func bearer(token string) func(context.Context, *http.Request) error {
	return func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
}

func must[T any](value T, err error) T {
	check(err == nil, "error", err)
	return value
}

func check(holds bool, details ...any) {
	if !holds {
		panic(fmt.Sprintln(details...))
	}
}

func pointer[T any](value T) *T { return &value }

func main() {
	ctx := context.Background()
	client := must(console.NewClientWithResponses(os.Getenv("CONSOLE"), console.WithRequestEditorFn(bearer(os.Getenv("TOKEN")))))
	suffix := strconv.FormatInt(time.Now().UnixNano(), 36)
	customer, once := "customer-"+suffix, "once-"+suffix

	limits := []console.RateLimitInput{{Name: "requests", Quota: 1, WindowS: 3600}}
	params := &console.CreateKeyParams{IdempotencyKey: &once}
	created := must(client.CreateKeyWithResponse(ctx, params, console.CreateKey{Name: "first", CustomerId: &customer, CreateCustomer: pointer(true), Limits: &limits}))
	check(created.JSON201 != nil, created.Status(), string(created.Body))
	reused := must(client.CreateKeyWithResponse(ctx, params, console.CreateKey{Name: "second", CustomerId: &customer, CreateCustomer: pointer(true)}))
	check(reused.StatusCode() == 422 && reused.ApplicationproblemJSON422.Code == "idempotency_key_reused", reused.Status())
	for _, name := range []string{"second", "third", "fourth", "fifth"} {
		must(client.CreateKeyWithResponse(ctx, nil, console.CreateKey{Name: name, CustomerId: &customer, CreateCustomer: pointer(true)}))
	}

	pages, cursor := []int{}, (*string)(nil)
	for {
		page := must(client.ListKeysWithResponse(ctx, &console.ListKeysParams{Customer: &customer, Limit: pointer(2), Cursor: cursor}))
		pages = append(pages, len(page.JSON200.Keys))
		if cursor = page.JSON200.NextCursor; cursor == nil {
			break
		}
	}
	check(fmt.Sprint(pages) == "[2 2 1]", pages)

	id := created.JSON201.Key.Id
	etag := must(client.ShowKeyWithResponse(ctx, id)).HTTPResponse.Header.Get("ETag")
	update := console.UpdateKey{Notes: pointer("changed")}
	changed := must(client.UpdateKeyWithResponse(ctx, id, &console.UpdateKeyParams{IfMatch: &etag}, update))
	check(changed.JSON200 != nil && changed.JSON200.Key.Notes == "changed", changed.Status())
	outdated := must(client.UpdateKeyWithResponse(ctx, id, &console.UpdateKeyParams{IfMatch: &etag}, update))
	check(outdated.StatusCode() == 412, outdated.Status())

	rotated := must(client.RotateKeyWithResponse(ctx, id, nil, console.RotateKey{GraceS: pointer(0)}))
	token := *rotated.JSON201.Token
	gate := must(gateway.NewClientWithResponses(os.Getenv("GATEWAY"), gateway.WithRequestEditorFn(bearer(token))))
	verified := must(gate.VerifyKeyWithResponse(ctx, gateway.VerifyRequest{Token: token}))
	check(verified.JSON200 != nil && verified.JSON200.Valid, verified.Status(), string(verified.Body))
	denied := must(gate.VerifyKeyHeaderWithResponse(ctx, nil))
	check(denied.StatusCode() == 429 && denied.HTTPResponse.Header.Get("Retry-After") != "", denied.Status())

	secret := must(client.CreateSecretWithResponse(ctx, nil, console.CreateSecret{Text: pointer("canary")}))
	opener := must(sharing.NewClientWithResponses(os.Getenv("SHARING")))
	opened := must(opener.OpenLinkWithResponse(ctx, sharing.OpenLink{Link: secret.JSON201.Links[0].Url}))
	check(opened.JSON200 != nil && *opened.JSON200.Items[0].Text == "canary", opened.Status())
}
