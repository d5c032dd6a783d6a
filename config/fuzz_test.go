package config

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// FuzzParse checks that no file and no variable makes the loader panic, that every problem is one line with a place,
// and that a valid configuration is printed so that it is read back.
func FuzzParse(f *testing.F) {
	f.Add(documented, "KAFKA__BROKERS", "a:1,b:2")
	f.Add(strings.Replace(documented, `webhook: {url: "http://localhost:8000/events", timeout: 5s}`, "handler: x", 1), "KAFKA__BROKERS", "a:1,b:2")
	f.Add(least, "CONSUMERS__0__ROUTES__0__WEBHOOK__HEADERS__X", "{")
	f.Add("a: &a [*a]\nb: {<<: *a}\n? c\n: !!str d", "CONSUMERS__1", "[[{a: b}]]")
	f.Add("kafka: {tls: ~, sasl:}\nconsumers: [{}, ~, 1]", "HTTP__LISTEN", ":0")
	f.Fuzz(func(t *testing.T, text, name, value string) {
		cfg, _, err := Parse("f", []byte(text), []string{envPrefix + name + "=" + value})
		if err != nil {
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatal("an error without a problem")
			}
			for _, p := range problems {
				if !strings.HasPrefix(p.Where, "f") && !strings.HasPrefix(p.Where, envPrefix) {
					t.Fatalf("no place: %+v", p)
				}
			}
			return
		}
		if hasSecrets(cfg) {
			return // what is masked does not come back
		}
		cfg.Postgres.URL = "postgres://layby@localhost/layby"
		var out bytes.Buffer
		if err := Print(&out, cfg); err != nil {
			t.Fatal(err)
		}
		again, _, err := Parse("f", out.Bytes(), nil)
		if err != nil || !reflect.DeepEqual(cfg, again) {
			t.Fatalf("printed\n%s\nread back with %v\n got %+v\nwant %+v", out.Bytes(), err, again, cfg)
		}
	})
}

func hasSecrets(c *Config) bool {
	if c.Postgres.URLFile != "" || c.Kafka.SASL != nil {
		return true
	}
	for i := range c.Consumers {
		for _, r := range c.Consumers[i].Routes {
			if r.Webhook != nil {
				return true
			}
		}
	}
	return false
}
