package payment

import (
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Config says where payments are taken, and how.
type Config struct {
	// URL is the service's address; /payments is added to it. It has no user, no query and no fragment. Required.
	URL string
	// Timeout is how long one call may take, from the connection to the end of the answer's body; 10 seconds when 0.
	Timeout time.Duration
	// PendingDelay is the wait before a payment that is pending is asked after; 1 minute when 0.
	PendingDelay time.Duration
	// TokenFile is a file that holds a bearer token, with white space around it or not. It is read again at each call. None
	// is sent when empty.
	TokenFile string
	// KeyLifetime is how long the service remembers an idempotency key from its first use; 24 hours when 0. A payment that may
	// have been taken with an older key is only looked for, and not asked for again. Write no more than the service promises.
	KeyLifetime time.Duration
	// Connections is how many idle connections are kept, best the consumer's workers; 8 when 0.
	Connections int
	// Breaker says when the service counts as away because it fails many calls.
	Breaker BreakerConfig
}

// BreakerConfig says when the circuit breaker opens. Zero values mean the defaults.
type BreakerConfig struct {
	Window       time.Duration // calls are counted over it; 10 seconds
	MinCalls     int           // in the window, before the breaker can open; 20
	FailureRatio float64       // share of failed calls that opens it; 0.5
	OpenFor      time.Duration // without calls, before one probes; 5 seconds
}

const (
	defaultTimeout      = 10 * time.Second
	defaultPendingDelay = time.Minute
	defaultKeyLifetime  = 24 * time.Hour
	defaultConnections  = 8
)

// Validate says all that is wrong with the configuration, by field. It doesn't repeat the URL, which may hold a secret by
// mistake, and it doesn't open TokenFile, which may come later.
func (c Config) Validate() error {
	var errs []error
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		errs = append(errs, errors.New("payment: URL: write http://host:port or https://host/path"))
	case u.User != nil:
		errs = append(errs, errors.New("payment: URL: write no user or password into it, but a token into a file, and its name as TokenFile"))
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		errs = append(errs, errors.New("payment: URL: write it without ? and #"))
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"Timeout", c.Timeout},
		{"PendingDelay", c.PendingDelay},
		{"KeyLifetime", c.KeyLifetime},
		{"Breaker.Window", c.Breaker.Window},
		{"Breaker.OpenFor", c.Breaker.OpenFor},
	} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("payment: %s: %v is negative; write a duration, or 0 for the default", d.field, d.value))
		}
	}
	if full := c.withDefaults(); c.KeyLifetime >= 0 && c.Timeout >= 0 && full.KeyLifetime <= full.Timeout {
		errs = append(errs, fmt.Errorf("payment: KeyLifetime: %v is not longer than Timeout, %v: no call could be repeated", full.KeyLifetime, full.Timeout))
	}
	if c.Breaker.MinCalls < 0 {
		errs = append(errs, fmt.Errorf("payment: Breaker.MinCalls: %d is negative; write a number of calls, or 0 for the default", c.Breaker.MinCalls))
	}
	if !(c.Breaker.FailureRatio >= 0 && c.Breaker.FailureRatio <= 1) {
		errs = append(errs, fmt.Errorf("payment: Breaker.FailureRatio: %v is no share; write one up to 1, or 0 for the default", c.Breaker.FailureRatio))
	}
	if c.Connections < 0 {
		errs = append(errs, fmt.Errorf("payment: Connections: %d is negative; write a number, or 0 for the default", c.Connections))
	}
	return errors.Join(errs...)
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.PendingDelay == 0 {
		c.PendingDelay = defaultPendingDelay
	}
	if c.KeyLifetime == 0 {
		c.KeyLifetime = defaultKeyLifetime
	}
	if c.Connections == 0 {
		c.Connections = defaultConnections
	}
	return c
}
