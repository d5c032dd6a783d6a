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
	// Connections is how many idle connections are kept, best the consumer's workers; 8 when 0.
	Connections int
}

const (
	defaultTimeout      = 10 * time.Second
	defaultPendingDelay = time.Minute
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
	}{{"Timeout", c.Timeout}, {"PendingDelay", c.PendingDelay}} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("payment: %s: %v is negative; write a duration, or 0 for the default", d.field, d.value))
		}
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
	if c.Connections == 0 {
		c.Connections = defaultConnections
	}
	return c
}
