package config

import (
	"net/url"
	"regexp"
	"strings"
)

// telling matches the names of query parameters that carry secrets.
var telling = regexp.MustCompile(`(?i)pass|token|secret|key|sig|auth`)

// maskURL hides the secrets of a URL. What is no URL it hides as a whole, a key=value connection string too.
func maskURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return Mask
	}
	if u.User != nil {
		_, hasPassword := u.User.Password()
		switch {
		case hasPassword:
			u.User = url.UserPassword(u.User.Username(), Mask)
		case strings.HasPrefix(u.Scheme, "http"): // the name may be a token
			u.User = url.User(Mask)
		}
	}
	query := u.Query()
	for name := range query {
		if telling.MatchString(name) {
			query.Set(name, Mask)
		}
	}
	u.RawQuery = query.Encode()
	return strings.ReplaceAll(u.String(), url.QueryEscape(Mask), Mask)
}
