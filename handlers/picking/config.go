package picking

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"
)

// Config is the configuration of a [Handler]. A zero value of a field means its default.
type Config struct {
	// CatalogueURL is where the catalogue service is, without "/products": http://catalogue:8080 or https://host/path. It
	// has no default. GET /products/p-1 is answered with 200 and
	//
	//	{"product":"p-1","price":{"amount":199,"currency":"EUR"},"per":"each"}
	//
	// or per kg, and with 404 and
	//
	//	{"product":"p-1","code":"unknown_product"}
	//
	// where it is not known. Any other 404 is not the catalogue's word on the product: then the catalogue is unavailable.
	CatalogueURL string
	// CatalogueTimeout is how long the catalogue may take for one answer; 2 seconds.
	CatalogueTimeout time.Duration
	// CatalogueConnections is how many idle connections to the catalogue are kept; 16.
	CatalogueConnections int
	// Breaker says when the catalogue counts as away because it fails many questions.
	Breaker BreakerConfig

	// CacheTTL is how long a price is used without asking again; 30 seconds.
	CacheTTL time.Duration
	// CacheUnknownTTL is how long a product counts as unknown without asking again; 5 seconds.
	CacheUnknownTTL time.Duration
	// CacheSize is how many products are remembered; 10,000. The oldest answer makes room.
	CacheSize int

	// Barcodes are the layouts of the barcodes that the shops print; [DefaultBarcodes] when nil, none when empty.
	Barcodes []BarcodeLayout

	// Now is the clock by which answers of the catalogue grow old; time.Now.
	Now func() time.Time

	// Logger is told of versions of orders that are odd; slog.Default() when nil.
	Logger *slog.Logger
}

// Validate says what is wrong, all at once, and what to write instead.
func (c Config) Validate() error {
	var errs []error
	if _, err := parseURL(c.CatalogueURL); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs,
		notNegative("CatalogueTimeout", c.CatalogueTimeout, "a duration such as 2s"),
		notNegative("CatalogueConnections", c.CatalogueConnections, "a number of connections such as 16"),
		c.Breaker.validate(),
		notNegative("CacheTTL", c.CacheTTL, "a duration such as 30s"),
		notNegative("CacheUnknownTTL", c.CacheUnknownTTL, "a duration such as 5s"),
		notNegative("CacheSize", c.CacheSize, "a number of products such as 10000"),
	)
	if ttl, unknown := or(c.CacheTTL, defaultCacheTTL), or(c.CacheUnknownTTL, defaultCacheUnknownTTL); unknown > ttl {
		errs = append(errs, fmt.Errorf("CacheUnknownTTL: %v is longer than CacheTTL, %v: a product may be added any time, write less", unknown, ttl))
	}
	return errors.Join(append(errs, checkLayouts(c.Barcodes))...)
}

const (
	defaultCatalogueTimeout     = 2 * time.Second
	defaultCatalogueConnections = 16
	defaultCacheTTL             = 30 * time.Second
	defaultCacheUnknownTTL      = 5 * time.Second
	defaultCacheSize            = 10_000
)

func (c Config) withDefaults() Config {
	c.CatalogueTimeout = or(c.CatalogueTimeout, defaultCatalogueTimeout)
	c.CatalogueConnections = or(c.CatalogueConnections, defaultCatalogueConnections)
	c.CacheTTL = or(c.CacheTTL, defaultCacheTTL)
	c.CacheUnknownTTL = or(c.CacheUnknownTTL, defaultCacheUnknownTTL)
	c.CacheSize = or(c.CacheSize, defaultCacheSize)
	if c.Barcodes == nil {
		c.Barcodes = DefaultBarcodes()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// OutboxConfig is the configuration of an [Outbox]. A zero value of a field means its default.
type OutboxConfig struct {
	// PaymentTopic is where events of the type payment.requested go. It has no default.
	PaymentTopic string
	// InconsistencyTopic is where events of the type catalogue.inconsistent go. It has no default; it may be the same.
	InconsistencyTopic string

	// Poll is how often the table is read when nothing woke the outbox up; 1 second.
	Poll time.Duration
	// Batch is how many events are read at once; 200.
	Batch int
	// ProduceTimeout is how long Kafka may take to acknowledge an event, and how long the other orders wait for it at most; 10
	// seconds.
	ProduceTimeout time.Duration
	// Backoff is the wait after a failure, of an order or of Postgres; 100 milliseconds. It doubles with each in a row, up to
	// MaxBackoff.
	Backoff time.Duration
	// MaxBackoff is the longest wait after a failure; 10 seconds.
	MaxBackoff time.Duration

	// Logger is told of failures; slog.Default() when nil.
	Logger *slog.Logger
}

// Validate says what is wrong, all at once, and what to write instead.
func (c OutboxConfig) Validate() error {
	var errs []error
	for _, topic := range []struct{ field, name string }{
		{"PaymentTopic", c.PaymentTopic}, {"InconsistencyTopic", c.InconsistencyTopic},
	} {
		if topic.name == "" {
			errs = append(errs, fmt.Errorf("%s: is empty: write the name of a Kafka topic", topic.field))
		}
	}
	errs = append(errs,
		notNegative("Poll", c.Poll, "a duration such as 1s"),
		notNegative("Batch", c.Batch, "a number of events such as 200"),
		notNegative("ProduceTimeout", c.ProduceTimeout, "a duration such as 10s"),
		notNegative("Backoff", c.Backoff, "a duration such as 100ms"),
		notNegative("MaxBackoff", c.MaxBackoff, "a duration such as 10s"),
	)
	if least, most := or(c.Backoff, defaultBackoff), or(c.MaxBackoff, defaultMaxBackoff); most < least {
		errs = append(errs, fmt.Errorf("MaxBackoff: %v is less than Backoff, %v: write that or more", most, least))
	}
	return errors.Join(errs...)
}

const (
	defaultPoll           = time.Second
	defaultBatch          = 200
	defaultProduceTimeout = 10 * time.Second
	defaultBackoff        = 100 * time.Millisecond
	defaultMaxBackoff     = 10 * time.Second
)

func (c OutboxConfig) withDefaults() OutboxConfig {
	c.Poll = or(c.Poll, defaultPoll)
	c.Batch = or(c.Batch, defaultBatch)
	c.ProduceTimeout = or(c.ProduceTimeout, defaultProduceTimeout)
	c.Backoff = or(c.Backoff, defaultBackoff)
	c.MaxBackoff = or(c.MaxBackoff, defaultMaxBackoff)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// parseURL reads the catalogue's URL. Its error does not repeat the URL, which may hold a password.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("CatalogueURL: is no address of a service: write http://host:port or https://host/path")
	}
	return u, nil
}

func notNegative[T int | time.Duration](field string, value T, write string) error {
	if value < 0 {
		return fmt.Errorf("%s: %v is below 0: write %s, or leave it out", field, value, write)
	}
	return nil
}

func or[T int | time.Duration](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}
