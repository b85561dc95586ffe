// Package gatehouse verifies API keys of Gatehouse in Go services, and manages keys and customers.
//
// [Gateway] verifies keys, and its guards protect the routes of net/http. [Console] manages keys
// and customers. [Sign] signs requests for keys that require signatures.
package gatehouse

import (
	"encoding/json"
	"fmt"
)

// Optional is a field of a request that can be omitted. The zero value is omitted, [Set] gives it a
// value, and [Null] is null, which removes the value that a resource has.
type Optional[T any] map[bool]T

// Set returns a field with a value.
func Set[T any](value T) Optional[T] { return Optional[T]{true: value} }

// Null returns the field null.
func Null[T any]() Optional[T] { return Optional[T]{false: *new(T)} }

// MarshalJSON implements [json.Marshaler].
func (o Optional[T]) MarshalJSON() ([]byte, error) {
	if value, ok := o[true]; ok {
		return json.Marshal(value)
	}
	return []byte("null"), nil
}

// Or returns the value, or the default if there is none.
func (o Optional[T]) Or(value T) T {
	if set, ok := o[true]; ok {
		return set
	}
	return value
}

// Secret is a token or a link in a response. Logs and JSON show "..." in its place: convert it with
// string(secret) where it is needed.
type Secret string

// MarshalText implements [encoding.TextMarshaler].
func (Secret) MarshalText() ([]byte, error) { return []byte("..."), nil }

// Format implements [fmt.Formatter].
func (Secret) Format(state fmt.State, _ rune) { fmt.Fprint(state, "...") }
