package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

func printText(t *testing.T, cfg *Config) string {
	t.Helper()
	var out bytes.Buffer
	if err := Print(&out, cfg); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPrintIsReadBackAsTheSame(t *testing.T) {
	for _, text := range []string{documented, least, `kafka: {tls: {server_name: k}}
consumers:
  - group: "012"
    topics: [a, "1e3"]
    start: 2026-01-31T00:00:00Z
    resource: json:/order/id
    event_type: json:/type
    retry: {tiers: [90s, {delay: 1h, attempts: 3}]}
    after_dead_letter: {order.viewed: advance, "yes": hold}
    keep: {order.viewed: 24h, "no": forever}
    dead_letter_topic: orders.dead
    max_span: {bytes: 1500}
    unrouted: skip
    routes: [{type: "null", handler: "true"}]
`} {
		cfg := parse(t, text)
		printed := printText(t, cfg)
		if again := parse(t, printed); !reflect.DeepEqual(cfg, again) {
			t.Errorf("printed\n%s\n got %+v\nwant %+v", printed, again, cfg)
		}
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	cfg := parse(t, `kafka: {tls: {}, sasl: {mechanism: PLAIN, user: u, password: hunter2}}
postgres: {url: "postgres://layby:hunter2@db:5432/layby?sslmode=require&sslpassword=hunter2"}
consumers:
  - group: orders
    topics: [order-events]
    routes:
      - {type: a, webhook: {url: "https://hunter2@h/x?api_key=hunter2&v=1", headers: {X-Key: hunter2}}}
      - {type: "*", skip: true}
`)
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("configuration", "sasl", cfg.Kafka.SASL, "password", cfg.Kafka.SASL.Password, "cfg", cfg)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("configuration", "password", cfg.Kafka.SASL.Password, "postgres", cfg.Postgres)
	encoded, err := json.Marshal(cfg.Postgres)
	if err != nil {
		t.Fatal(err)
	}
	shown := printText(t, cfg) + logged.String() + string(encoded) +
		fmt.Sprintf("%v %+v %#v %s %q %x %d", cfg.Postgres, cfg.Kafka.SASL, *cfg.Kafka.SASL, cfg.Postgres.URL, cfg.Postgres.URL, cfg.Postgres.URL, cfg.Postgres.URL)
	for line := range strings.Lines(shown) {
		if strings.Contains(line, "hunter2") || strings.Contains(line, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("a secret is shown: %s", line)
		}
	}
	for _, want := range []string{
		"url: postgres://layby:******@db:5432/layby?sslmode=require&sslpassword=******",
		"password: '******'", "url: https://******@h/x?api_key=******&v=1", "X-Key: '******'",
	} {
		if !strings.Contains(strings.ReplaceAll(shown, `"`, "'"), want) {
			t.Errorf("printed without %q:\n%s", want, shown)
		}
	}
	if cfg.Kafka.SASL.Password.Reveal() != "hunter2" {
		t.Error("the secret itself is gone")
	}
}

func TestReferenceIsComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Reference() {
		if k.Doc == "" || k.Path == "" || strings.HasSuffix(k.Path, ".") {
			t.Errorf("%+v: no documentation or key", k)
		}
		if seen[k.Path] {
			t.Errorf("%s is listed twice", k.Path)
		}
		seen[k.Path] = true
	}
	for _, path := range []string{"kafka.brokers", "kafka.sasl.password_file", "consumers[].retry.tiers[].attempts", "consumers[].routes[].webhook.url"} {
		if !seen[path] {
			t.Errorf("%s is missing", path)
		}
	}
}
