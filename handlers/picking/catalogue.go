package picking

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/internal/breaker"
	"github.com/layby-go/layby/handlers/money"
)

// dependency is the catalogue's name in verdicts.
const dependency = "catalogue"

const (
	maxAnswer  = 64 << 10 // bytes of a catalogue's answer, and of its headers
	maxDrained = 64 << 10 // bytes that are read beyond what is of use, so that the connection can be used again
)

// unit is what a price is for.
type unit string

const (
	each     unit = "each"
	kilogram unit = "kg"
)

// BreakerConfig says when the circuit breaker around the catalogue opens. Zero values mean the defaults.
type BreakerConfig struct {
	Window       time.Duration // questions are counted over it; 10 seconds
	MinCalls     int           // in the window, before the breaker can open; 20
	FailureRatio float64       // share of failed questions that opens it; 0.5
	OpenFor      time.Duration // without questions, before one probes; 5 seconds
}

func (c BreakerConfig) validate() error {
	errs := []error{
		notNegative("Breaker.Window", c.Window, "a duration such as 10s"),
		notNegative("Breaker.MinCalls", c.MinCalls, "a number of questions such as 20"),
		notNegative("Breaker.OpenFor", c.OpenFor, "a duration such as 5s"),
	}
	if !(c.FailureRatio >= 0 && c.FailureRatio <= 1) {
		errs = append(errs, fmt.Errorf("Breaker.FailureRatio: %v is no share: write one up to 1 such as 0.5, or leave it out", c.FailureRatio))
	}
	return errors.Join(errs...)
}

// offer is what the catalogue says of a product. The zero value: it does not know it.
type offer struct {
	known bool
	price money.Money
	per   unit
}

// catalogue asks the catalogue service, through the cache.
type catalogue struct {
	base    string
	timeout time.Duration
	late    error // why a question ends when timeout has passed
	client  *http.Client
	cache   *cache
	breaker *breaker.Breaker
}

func newCatalogue(cfg Config) (*catalogue, error) {
	u, err := parseURL(cfg.CatalogueURL)
	if err != nil {
		return nil, err
	}
	return &catalogue{
		base: strings.TrimRight(u.String(), "/"), timeout: cfg.CatalogueTimeout, cache: newCache(cfg),
		breaker: breaker.New(dependency, breaker.Config(cfg.Breaker)),
		late:    fmt.Errorf("no answer within %v: %w", cfg.CatalogueTimeout, context.DeadlineExceeded),
		client: &http.Client{
			Transport: &http.Transport{
				Proxy:                  http.ProxyFromEnvironment,
				DialContext:            (&net.Dialer{Timeout: cfg.CatalogueTimeout, KeepAlive: 30 * time.Second}).DialContext,
				ForceAttemptHTTP2:      true,
				HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second}, // else a dead connection is kept for many minutes
				MaxIdleConns:           cfg.CatalogueConnections,
				MaxIdleConnsPerHost:    cfg.CatalogueConnections,
				IdleConnTimeout:        90 * time.Second,
				TLSHandshakeTimeout:    cfg.CatalogueTimeout,
				MaxResponseHeaderBytes: maxAnswer,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// questionsAtOnce is how many products of an order are asked for at the same time.
const questionsAtOnce = 8

// atOnce is how many products an order may ask for at the same time. While the circuit breaker lets one question pass it is one:
// the second would be refused, and the order would give up the first, which is the probe.
func (c *catalogue) atOnce() int {
	if c.breaker.State() != gobreaker.StateClosed {
		return 1
	}
	return questionsAtOnce
}

func (c *catalogue) close() { c.client.CloseIdleConnections() }

// find returns what the catalogue says of a product, from the cache if it can. Its errors have verdicts.
func (c *catalogue) find(ctx context.Context, product string) (offer, error) {
	found, err := c.cache.get(ctx, product, func() (offer, error) { return c.ask(ctx, product) })
	var verdict *layby.Error
	switch {
	case err == nil:
		return found, nil
	case errors.Is(ctx.Err(), context.Canceled):
		err = context.Cause(ctx) // we gave up: that says nothing about the catalogue
	case ctx.Err() != nil && !errors.As(err, &verdict): // while another asked
		err = &layby.Error{Verdict: layby.VerdictRetriable, Class: layby.ClassTimeout, Dependency: dependency, Err: err}
	}
	return offer{}, fmt.Errorf("ask the catalogue for product %q: %w", product, err)
}

// ask asks the service, if the circuit breaker lets it.
func (c *catalogue) ask(ctx context.Context, product string) (offer, error) {
	call, open := c.breaker.Begin()
	if open != nil {
		return offer{}, open
	}
	defer call.End()
	limited, cancel := context.WithTimeoutCause(ctx, c.timeout, c.late)
	defer cancel()
	limited, reached := breaker.Reached(limited)
	a, err := c.get(limited, product)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return offer{}, err
		}
		failure := &layby.Error{Verdict: layby.VerdictRetriable, Dependency: dependency, Err: err}
		var late interface{ Timeout() bool }
		if limited.Err() != nil {
			failure.Err, failure.Class = context.Cause(limited), layby.ClassTimeout
		} else if errors.As(err, &late) && late.Timeout() {
			failure.Class = layby.ClassTimeout
		}
		if !reached.Load() {
			failure.Verdict = layby.VerdictUnavailable // no product is the reason
		}
		return offer{}, call.Failed(failure, product, !reached.Load())
	}
	found, failure, err := a.offer(product)
	if failure != nil {
		return offer{}, call.Failed(failure, product, a.status == http.StatusServiceUnavailable)
	}
	call.Good()
	return found, err
}

// response is what the catalogue answered.
type response struct {
	status int
	header http.Header
	body   []byte // with more than maxAnswer bytes it is cut off
}

// get makes the request and reads the answer.
func (c *catalogue) get(ctx context.Context, product string) (*response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/products/"+url.PathEscape(product), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrained)
		_ = resp.Body.Close()
	}()
	a := &response{status: resp.StatusCode, header: resp.Header}
	if a.status == http.StatusOK || a.status == http.StatusNotFound {
		if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
	}
	return a, nil
}

// offer says what the answer means. Failure is the verdict when the service failed, and not the product.
func (a *response) offer(product string) (found offer, failure *layby.Error, err error) {
	answered := &layby.Error{Verdict: layby.VerdictRetriable, Dependency: dependency, After: retryAfter(a.header), Err: fmt.Errorf("status %d", a.status)}
	switch s := a.status; {
	case s == http.StatusOK:
		found, err = readOffer(a.body, product)
		return found, nil, layby.Class(err, ClassCatalogue)
	case s == http.StatusNotFound && saysUnknown(a.body, product):
		return offer{}, nil, nil
	case s >= 500, s == http.StatusTooManyRequests, s == http.StatusRequestTimeout:
		answered.Class = ClassCatalogue
		return offer{}, answered, nil
	case s < 400, s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusNotFound, s == http.StatusMethodNotAllowed,
		s == http.StatusProxyAuthRequired:
		// The service is set up wrong, or somebody else answers: nothing that the order could help.
		answered.Verdict = layby.VerdictUnavailable
		return offer{}, answered, nil
	}
	return offer{}, nil, layby.Class(fmt.Errorf("status %d", a.status), ClassCatalogue)
}

// saysUnknown says that the body of a 404 is the catalogue's word that it doesn't know the product. That of a proxy, or of
// another service, would give goods away.
func saysUnknown(body []byte, product string) bool {
	var answer struct {
		Product string `json:"product"`
		Code    string `json:"code"`
	}
	return len(body) <= maxAnswer && json.Unmarshal(body, &answer) == nil && answer.Product == product && answer.Code == "unknown_product"
}

// readOffer reads the body of an answer. What is wrong with it may be put right in the catalogue, so its errors are
// retriable.
func readOffer(body []byte, product string) (offer, error) {
	if len(body) > maxAnswer {
		return offer{}, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	var answer struct {
		Product string `json:"product"`
		Price   *struct {
			Amount   *int64 `json:"amount"`
			Currency string `json:"currency"`
		} `json:"price"`
		Per unit `json:"per"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return offer{}, fmt.Errorf("read the answer: %w", err)
	}
	switch {
	case answer.Product != product:
		return offer{}, fmt.Errorf("the answer is about product %q", answer.Product)
	case answer.Price == nil || answer.Price.Amount == nil:
		return offer{}, errors.New("the answer has no price")
	case *answer.Price.Amount < 0:
		return offer{}, fmt.Errorf("the answer has the price %d", *answer.Price.Amount)
	case answer.Per != each && answer.Per != kilogram:
		return offer{}, fmt.Errorf("the answer has a price per %q, which is neither %q nor %q", answer.Per, each, kilogram)
	}
	price := money.Money{Amount: *answer.Price.Amount, Currency: answer.Price.Currency}
	if err := price.Check(); err != nil {
		return offer{}, fmt.Errorf("the answer's %w", err)
	}
	return offer{known: true, price: price, per: answer.Per}, nil
}

// retryAfter is the wait that an answer asks for, in seconds as services send it; 0 when it asks for none.
func retryAfter(h http.Header) time.Duration {
	const longest = 5 * 60 // seconds
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil {
		return 0
	}
	return time.Duration(min(max(seconds, 0), longest)) * time.Second
}
