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

	"github.com/layby-go/layby"
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
}

func newCatalogue(cfg Config) (*catalogue, error) {
	u, err := parseURL(cfg.CatalogueURL)
	if err != nil {
		return nil, err
	}
	return &catalogue{
		base: strings.TrimRight(u.String(), "/"), timeout: cfg.CatalogueTimeout, cache: newCache(cfg),
		late: fmt.Errorf("no answer within %v: %w", cfg.CatalogueTimeout, context.DeadlineExceeded),
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

func (c *catalogue) close() { c.client.CloseIdleConnections() }

// find returns what the catalogue says of a product, from the cache if it can. Its errors have verdicts.
func (c *catalogue) find(ctx context.Context, product string) (offer, error) {
	found, err := c.cache.get(ctx, product, func() (offer, error) { return c.ask(ctx, product) })
	switch {
	case err == nil:
		return found, nil
	case errors.Is(ctx.Err(), context.Canceled):
		err = context.Cause(ctx) // we gave up: that says nothing about the catalogue
	case ctx.Err() != nil:
		err = layby.Unavailable(dependency, err)
	}
	return offer{}, fmt.Errorf("ask the catalogue for product %q: %w", product, err)
}

// ask asks the service.
func (c *catalogue) ask(ctx context.Context, product string) (offer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, c.late)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/products/"+url.PathEscape(product), nil)
	if err != nil {
		return offer{}, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return offer{}, c.away(ctx, err)
	}
	defer func() {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrained)
		_ = resp.Body.Close()
	}()
	switch s := resp.StatusCode; {
	case s == http.StatusOK:
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
		if err != nil {
			return offer{}, c.away(ctx, err)
		}
		found, err := readOffer(body, product)
		return found, layby.Class(err, ClassCatalogue)
	case s == http.StatusNotFound:
		return offer{}, nil
	case s >= 500, s == http.StatusTooManyRequests, s == http.StatusRequestTimeout, s < 200, s >= 300 && s < 400,
		s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusMethodNotAllowed:
		// The last ones say that the service is set up wrong: nothing that the order could help.
		return offer{}, &layby.Error{
			Verdict: layby.VerdictUnavailable, Dependency: dependency, After: retryAfter(resp.Header),
			Err: fmt.Errorf("status %d", s),
		}
	default:
		return offer{}, layby.Class(fmt.Errorf("status %d", s), ClassCatalogue)
	}
}

// away is the verdict on an answer that did not come, or not to its end.
func (c *catalogue) away(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, c.late) {
		err = cause
	}
	return layby.Unavailable(dependency, err)
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
