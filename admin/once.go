package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/dls"
)

var (
	errInFlight     = errors.New("a request with this Idempotency-Key is being carried out: wait for its answer")
	errOtherRequest = errors.New("another request was sent with this Idempotency-Key within a day: take a new key")
)

// answeredBefore is what a key was answered.
type answeredBefore struct{ answer string }

func (answeredBefore) Error() string { return "it was answered before" }

// KeyHeader names a request that may be sent again.
type KeyHeader struct {
	Key string `header:"Idempotency-Key" minLength:"1" maxLength:"200" doc:"Any text, new for each request. The same request with the same key does nothing again within a day, and gets the same answer."`

	sent bool
}

// Resolve tells an empty key from none.
func (k *KeyHeader) Resolve(ctx huma.Context) []error {
	ctx.EachHeader(func(name, _ string) {
		k.sent = k.sent || strings.EqualFold(name, "Idempotency-Key")
	})
	if k.sent && k.Key == "" {
		return []error{&huma.ErrorDetail{Location: "header.Idempotency-Key", Message: "it is empty: write any text, or leave the header out"}}
	}
	return nil
}

// once has something done under the name of who asks. With a key it is done once: the answer is kept in the same transaction, and
// what was answered before is answered again. act calls one act of the store that it gets.
func once[R, V any](ctx context.Context, a *API, k KeyHeader, act func(*dls.Store) (*R, error), view func(*R) V) (V, error) {
	var answer V
	if !k.sent {
		result, err := act(a.store.With(dls.Within{Before: bound}))
		if err != nil {
			return answer, err
		}
		return view(result), nil
	}
	who, sum := whoAsks(ctx).Name, requestSum(ctx)
	_, err := act(a.store.With(dls.Within{
		Before: func(ctx context.Context, tx pgx.Tx) error {
			if err := bound(ctx, tx); err != nil {
				return err
			}
			var busy, other bool
			var before *string
			err := tx.QueryRow(ctx, "select busy, other, answer from "+a.schema+".admin_answered($1, $2, $3)", who, k.Key, sum).Scan(&busy, &other, &before)
			switch {
			case err != nil:
				return fmt.Errorf("look the Idempotency-Key up: %w", err)
			case busy:
				return errInFlight
			case other:
				return errOtherRequest
			case before != nil:
				return answeredBefore{*before}
			}
			return nil
		},
		After: func(ctx context.Context, tx pgx.Tx, result any) error {
			done, _ := result.(*R) // nil for an act that returns nothing
			answer = view(done)
			text, err := json.Marshal(answer)
			if err != nil {
				return fmt.Errorf("keep the answer: %w", err)
			}
			if _, err := tx.Exec(ctx, "select "+a.schema+".admin_answer($1, $2, $3, $4)", who, k.Key, sum, string(text)); err != nil {
				return fmt.Errorf("keep the answer: %w", err)
			}
			return nil
		},
	}))
	var before answeredBefore
	if errors.As(err, &before) {
		err = json.Unmarshal([]byte(before.answer), &answer)
	}
	return answer, err
}
