package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestEnvironmentOverridesTheFile(t *testing.T) {
	cfg := parse(t, documented,
		"LAYBY__KAFKA__BROKERS=a:1, b:2",
		"LAYBY__POSTGRES__MAX_CONNECTIONS=3",
		"LAYBY__SHUTDOWN_GRACE=1m",
		"LAYBY__CONSUMERS__0__GROUP=other",
		"LAYBY__CONSUMERS__0__RETRY__TIERS__1=20m",
		"LAYBY__CONSUMERS__0__RETRY__TIERS__2__ATTEMPTS=4",
		"LAYBY__CONSUMERS__0__RETRY__TIERS__3=2h",
		"LAYBY__CONSUMERS__0__MAX_SPAN__BYTES=1GiB",
		"LAYBY__CONSUMERS__0__AFTER_DEAD_LETTER={default: advance, order.picked: hold}",
		"LAYBY__CONSUMERS__0__ROUTES__1__WEBHOOK__HEADERS__AUTHORIZATION=Bearer x",
		"LAYBY__CONSUMERS__1__GROUP=second",
		"LAYBY__CONSUMERS__1__TOPICS=[order-events]",
		"LAYBY__CONSUMERS__1__ROUTES__0__TYPE=*",
		"LAYBY__CONSUMERS__1__ROUTES__0__SKIP=true",
		"LAYBY_KAFKA=ignored",
		"HOME=/root",
	)
	c := cfg.Consumers[0]
	if !reflect.DeepEqual(cfg.Kafka.Brokers, []string{"a:1", "b:2"}) || cfg.Postgres.MaxConnections != 3 || cfg.ShutdownGrace != time.Minute {
		t.Errorf("process: %+v", cfg)
	}
	if c.Group != "other" || c.MaxSpan != (MaxSpan{Events: 100_000, Bytes: 1 << 30}) {
		t.Errorf("consumer: %+v", c)
	}
	if want := []Tier{{time.Minute, 1}, {20 * time.Minute, 1}, {time.Hour, 4}, {2 * time.Hour, 1}}; !reflect.DeepEqual(c.Retry.Tiers, want) {
		t.Errorf("tiers %v, want %v", c.Retry.Tiers, want)
	}
	if c.AfterDeadLetter.For("order.picked") != Hold || c.AfterDeadLetter.For("other") != Advance {
		t.Errorf("after_dead_letter %v", c.AfterDeadLetter)
	}
	if c.Routes[1].Webhook.Headers["authorization"].Reveal() != "Bearer x" || c.Routes[1].Webhook.URL == "" {
		t.Errorf("webhook %+v", c.Routes[1].Webhook)
	}
	if cfg.Consumers[1].Group != "second" || cfg.Consumers[1].Workers != 64 || !cfg.Consumers[1].Routes[0].Skip {
		t.Errorf("second consumer %+v", cfg.Consumers[1])
	}
}

func TestEveryKeyCanBeSetByTheEnvironment(t *testing.T) {
	values := map[string]string{
		"duration": "7s", "size": "7MiB", "whole number": "7", "number": "0.7", "true or false": "true", "text": "x",
		"list of text": "x,y", "list of section": "[]", "section": "{}", "mapping": "{}", "part of a record": "header:x",
		"earliest, latest or a time": "latest",
	}
	for _, k := range Reference() {
		value, ok := values[k.Type]
		if !ok {
			t.Errorf("%s: no value of type %s to try", k.Path, k.Type)
		}
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(strings.ReplaceAll(k.Path, "[]", "__0"), ".", "__"))
		_, _, err := Parse("layby.yaml", []byte(documented), []string{name + "=" + value})
		if err != nil && strings.Contains(err.Error(), "unknown") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEnvironmentProblemsNameTheVariable(t *testing.T) {
	got := problemsOf(t, least,
		"LAYBY__CONSUMERS__0__WORKERS=none",
		"LAYBY__CONSUMERS__0__WORKERS__MAX=1",
		"LAYBY__CONSUMERS__FIRST__GROUP=x",
		"LAYBY__CONSUMERS__3__GROUP=x",
		"LAYBY__CONSUMERS__0__TOPICS=[a",
		"LAYBY__KAFKA=localhost:9092",
		"LAYBY__LOG__LEVEL__X=1",
		"LAYBY__SESSION_TIMEOUT=10s",
		"LAYBY__HTTP={listen: 1, port: 2}",
	)
	compareLines(t, got, []string{
		`LAYBY__CONSUMERS__0__TOPICS: sequence end token`,
		`LAYBY__CONSUMERS__0__TOPICS: consumers[0].topics: is required`,
		`LAYBY__CONSUMERS__0__WORKERS: consumers[0].workers: "none" is no whole number`,
		`LAYBY__CONSUMERS__0__WORKERS__MAX: sets something below a single value: nothing is called "max" there`,
		`LAYBY__CONSUMERS__3__GROUP: there is no item 3: the list has 1; the next is number 1`,
		`LAYBY__CONSUMERS__FIRST__GROUP: "FIRST" is no index of a list: write its number, from 0`,
		`LAYBY__HTTP: http.listen: "1" is no address`,
		`LAYBY__HTTP: http.port: is an unknown key; known here: listen`,
		`LAYBY__KAFKA: kafka: want a section with keys such as brokers, not a text`,
		`LAYBY__LOG__LEVEL__X: sets something below a single value: nothing is called "x" there`,
		`LAYBY__SESSION_TIMEOUT: "session_timeout" is an unknown key here; write it as consumers[].session_timeout`,
	})
}

func TestEnvironmentHidesNoProblemOfTheFile(t *testing.T) {
	got := problemsOf(t, "kafka: localhost\nconsumers: orders\n", "LAYBY__KAFKA__BROKERS=a:1", "LAYBY__CONSUMERS__0__GROUP=x")
	compareLines(t, got, []string{
		"layby.yaml:1:8: kafka: want a section with keys such as brokers, not a text",
		"layby.yaml:2:12: consumers: want a list such as [a, b], not a text",
	})
}

func TestOneValueIsSetOnce(t *testing.T) {
	got := problemsOf(t, least, "LAYBY__KAFKA__BROKERS=a:1", "LAYBY__KAFKA__BROKERS__0=b:1")
	compareLines(t, got, []string{`LAYBY__KAFKA__BROKERS__0: sets a part of what LAYBY__KAFKA__BROKERS sets: keep one of them`})
}

func TestSecretsComeFromFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "url")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("postgres://a:b@c/d\n")
	read := func(cfg *Config) string {
		url, err := cfg.Postgres.ReadURL()
		if err != nil {
			t.Fatal(err)
		}
		return url
	}
	inFile := "postgres: {url_file: " + file + "}\n" + least
	cfg := parse(t, inFile)
	if got := read(cfg); got != "postgres://a:b@c/d" {
		t.Errorf("url %q", got)
	}
	write("postgres://a:new@c/d")
	if got := read(cfg); got != "postgres://a:new@c/d" {
		t.Errorf("a rotated secret is not seen: %q", got)
	}
	// The environment replaces the file's other way to give the secret.
	if got := read(parse(t, inFile, "LAYBY__POSTGRES__URL=postgres://e@f/g")); got != "postgres://e@f/g" {
		t.Errorf("url %q", got)
	}
	if got := read(parse(t, "postgres: {url: 'postgres://e@f/g'}\n"+least, "LAYBY__POSTGRES__URL_FILE="+file)); got != "postgres://a:new@c/d" {
		t.Errorf("url %q", got)
	}
	compareLines(t, problemsOf(t, "postgres: {url: 'postgres://e@f/g', url_file: "+file+"}\n"+least),
		[]string{"layby.yaml:1:17: postgres.url: is set beside url_file: keep one of them"})
	compareLines(t, problemsOf(t, "postgres: {url_file: "+file+".missing}\n"+least),
		[]string{"layby.yaml:1:22: postgres.url_file: " + file + ".missing can't be read: no such file or directory"})
	write("")
	compareLines(t, problemsOf(t, inFile), []string{"layby.yaml:1:22: postgres.url_file: " + file + " is empty or no file"})
	if _, err := cfg.Postgres.ReadURL(); err == nil {
		t.Error("an empty file gave a URL")
	}
}
