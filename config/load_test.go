package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// documented is the file of the documentation, every value at its default.
const documented = `kafka:
  brokers: ["localhost:9092"]
postgres:
  url: "postgres://layby@localhost/layby"
  schema: layby
  max_connections: 8
http: {listen: "127.0.0.1:8080"}
log: {level: info, format: text}
shutdown_grace: 25s
consumers:
  - group: orders
    topics: [order-events]
    start: earliest
    isolation: read_committed
    on_offsets_lost: stop
    session_timeout: 10s
    heartbeat: 500ms
    rebalance_timeout: 60s
    ordering: park
    resource: key
    event_type: header:type
    retry:
      immediate: {max: 2, backoff: 100ms}
      tiers: [1m, 10m, 1h]
      max_retry_after: 24h
    produce_timeout: 10s
    topic_replication: 0
    after_dead_letter: hold
    workers: 64
    handler_timeout: 30s
    stuck_grace: 10s
    max_span: {events: 100000, bytes: 64MiB}
    when_full: park
    breaker: {window: 10s, min_calls: 20, failure_ratio: 0.5, open_for: 5s}
    unrouted: dead_letter
    routes:
      - {type: order.viewed, skip: true}
      - {type: "*", webhook: {url: "http://localhost:8000/events", timeout: 5s}}
`

// least is the shortest valid file.
const least = `consumers:
  - group: orders
    topics: [order-events]
    routes: [{type: "*", webhook: {url: "http://localhost:8000/events"}}]
`

func parse(t *testing.T, text string, environ ...string) *Config {
	t.Helper()
	cfg, _, err := Parse("layby.yaml", []byte(text), environ)
	if err != nil {
		t.Fatalf("parse:\n%v", err)
	}
	return cfg
}

func problemsOf(t *testing.T, text string, environ ...string) []string {
	t.Helper()
	_, _, err := Parse("layby.yaml", []byte(text), environ)
	if err == nil {
		t.Fatal("no problem was found")
	}
	return strings.Split(err.Error(), "\n")
}

func TestTheDocumentedFileIsValid(t *testing.T) {
	cfg := parse(t, documented)
	c := cfg.Consumers[0]
	want := Consumer{
		Group: "orders", Topics: []string{"order-events"},
		Isolation: ReadCommitted, OnOffsetsLost: StopWhenLost,
		SessionTimeout: 10 * time.Second, Heartbeat: 500 * time.Millisecond, RebalanceTimeout: time.Minute,
		Ordering: Park, Resource: Selector{From: FromKey}, EventType: Selector{From: FromHeader, Name: "type"},
		Retry: Retry{
			Immediate:     Immediate{Max: 2, Backoff: 100 * time.Millisecond},
			Tiers:         []Tier{{time.Minute, 1}, {10 * time.Minute, 1}, {time.Hour, 1}},
			MaxRetryAfter: 24 * time.Hour,
		},
		ProduceTimeout: 10 * time.Second, AfterDeadLetter: AfterDeadLetter{"default": Hold},
		Keep: Keep{"default": KeepTime(720 * time.Hour)}, Workers: 64,
		HandlerTimeout: 30 * time.Second, StuckGrace: 10 * time.Second,
		MaxSpan: MaxSpan{Events: 100_000, Bytes: 64 << 20}, WhenFull: ParkWhenFull,
		Breaker:  Breaker{Window: 10 * time.Second, MinCalls: 20, FailureRatio: 0.5, OpenFor: 5 * time.Second},
		Unrouted: UnroutedDeadLetter,
		Routes: []Route{
			{Type: "order.viewed", Skip: true},
			{Type: "*", Webhook: &Webhook{URL: "http://localhost:8000/events", Timeout: 5 * time.Second}},
		},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("consumer\n got %+v\nwant %+v", c, want)
	}
	if cfg.HTTP.Listen != "127.0.0.1:8080" || cfg.Log != (Log{"info", "text"}) || cfg.ShutdownGrace != 25*time.Second {
		t.Errorf("process settings: %+v", cfg)
	}
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	got, want := parse(t, least), parse(t, documented)
	// What the documentation's example writes beyond the defaults.
	c := &want.Consumers[0]
	c.EventType, c.Unrouted, c.Routes = Selector{}, "", c.Routes[1:]
	if !reflect.DeepEqual(got, want) {
		t.Errorf("defaults\n got %+v\nwant %+v", got, want)
	}
}

func TestHowLongLettersAreKept(t *testing.T) {
	for text, want := range map[string]Keep{
		"24h":                                  {"default": KeepTime(24 * time.Hour)},
		"forever":                              {"default": Forever},
		"{a: 1h, b: forever}":                  {"default": KeepTime(720 * time.Hour), "a": KeepTime(time.Hour), "b": Forever},
		"{default: forever, order.viewed: 1s}": {"default": Forever, "order.viewed": KeepTime(time.Second)},
	} {
		if got := parse(t, least+"\n    keep: "+text).Consumers[0].Keep; !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %v", text, got)
		}
	}
	for text, want := range map[string]string{
		"500ms": "too short", "{a: 0s}": "too short", "30d": "write 720h, or forever", "ever": "or forever", "{a: [1h]}": "not a list",
	} {
		got := problemsOf(t, least+"\n    keep: "+text)
		if len(got) != 1 || !strings.Contains(got[0], want) || !strings.Contains(got[0], "consumers[0].keep") {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestTheTopicOfCopiesIsOfItsOwn(t *testing.T) {
	if got := parse(t, least+"\n    dead_letter_topic: orders.dead").Consumers[0].DeadLetterTopic; got != "orders.dead" {
		t.Error(got)
	}
	for topic, want := range map[string]string{
		"order-events": "is a source topic of this consumer", "orders.retry.1m": "another purpose", "orders.errors": "another purpose",
		"a b": "no topic name", "..": "no topic name", strings.Repeat("x", 250): "at most 249",
	} {
		if got := problemsOf(t, least+"\n    dead_letter_topic: \""+topic+"\""); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %q", topic, got)
		}
	}
}

func TestEveryProblemIsReportedAtOnceWithItsPlace(t *testing.T) {
	got := problemsOf(t, `kafka:
  brokers: [localhost]
  group.instance.id: me
postgres: {url: "mysql://u:hunter2@h/d", schema: "Layby-1"}
log: {level: loud}
shutdown_grace: 25
session_timeout: 10s
consumers:
  - group: orders
    topics: [order-events, "order-.*", orders.retry.1m]
    start: tomorrow
    heartbeet: 1s
    heartbeat: 4s
    rebalance_timeout: 5s
    ordering: parc
    resource: jsn:/a
    retry:
      tiers: [1m, 60s, {attempts: 2}]
    max_span: {events: 0, bytes: 64 XB}
    after_dead_letter: {default: hold, order.viewed: skip}
    workers: many
    routes:
      - {type: order.picked, handler: a, skip: true}
      - {type: "order.*", webhook: {timeout: 5s}}
      - webhook: {url: ftp://x}
  - group: orders
    topics: events
`, "LAYBY__HTTP__LISTEN=here", "LAYBY__KAFKA__BROKER=a:1")
	want := []string{
		`layby.yaml:2:13: kafka.brokers[0]: "localhost" is no broker: write host:port, such as localhost:9092`,
		`layby.yaml:3:3: kafka.group.instance.id: static membership is refused, since`,
		`layby.yaml:4:17: postgres.url: is no connection URL: write postgres://`,
		`layby.yaml:4:50: postgres.schema: "Layby-1" is no schema name`,
		`layby.yaml:5:14: log.level: "loud" is no choice: write debug, info, warn or error`,
		`layby.yaml:6:17: shutdown_grace: 25 has no unit: write 25s for seconds or 25ms for milliseconds`,
		`layby.yaml:7:1: session_timeout: is an unknown key here; write it as consumers[].session_timeout`,
		`layby.yaml:10:28: consumers[0].topics[1]: "order-.*" is a pattern: write the exact name of each topic`,
		`layby.yaml:10:40: consumers[0].topics[2]: "orders.retry.1m" is a topic that Layby itself writes for the group orders`,
		`layby.yaml:11:12: consumers[0].start: "tomorrow" is no start: write earliest, latest, or a time`,
		`layby.yaml:12:5: consumers[0].heartbeet: is an unknown key; did you mean heartbeat?`,
		`layby.yaml:13:16: consumers[0].heartbeat: 4s is too long: write less than a third of session_timeout (10s)`,
		`layby.yaml:14:24: consumers[0].rebalance_timeout: 5s is below session_timeout (10s)`,
		`layby.yaml:15:15: consumers[0].ordering: "parc" is no choice: did you mean park? Write park, block or none`,
		`layby.yaml:16:15: consumers[0].resource: "jsn:/a" names no part of a record`,
		`layby.yaml:18:19: consumers[0].retry.tiers[1]: 1m is the delay of tier 0 too`,
		`layby.yaml:18:24: consumers[0].retry.tiers[2].delay: is required`,
		`layby.yaml:19:24: consumers[0].max_span.events: 0 is too low: write 1 or more`,
		`layby.yaml:19:34: consumers[0].max_span.bytes: "64 XB": a size is a whole number with a unit`,
		`layby.yaml:20:54: consumers[0].after_dead_letter.order.viewed: "skip" is no choice: write hold or advance`,
		`layby.yaml:21:14: consumers[0].workers: "many" is no whole number`,
		`layby.yaml:23:9: consumers[0].routes[0]: leads to 2 places: write exactly one of`,
		`layby.yaml:24:16: consumers[0].routes[1].type: "order.*" is a pattern`,
		`layby.yaml:24:27: consumers[0].routes[1].webhook.url: is required`,
		`layby.yaml:25:9: consumers[0].routes[2].type: is required`,
		`layby.yaml:25:24: consumers[0].routes[2].webhook.url: is no URL of a service`,
		`layby.yaml:26:5: consumers[1].routes: is required`,
		`layby.yaml:26:12: consumers[1].group: "orders" is the group of consumers[0] too`,
		`layby.yaml:27:13: consumers[1].topics: want a list such as [a, b], not a text`,
		`LAYBY__HTTP__LISTEN: http.listen: "here" is no address`,
		`LAYBY__KAFKA__BROKER: "broker" is an unknown key; did you mean brokers?`,
	}
	compareLines(t, got, want)
	if strings.Contains(strings.Join(got, "\n"), "hunter2") {
		t.Error("a password is shown")
	}
}

func compareLines(t *testing.T, got, prefixes []string) {
	t.Helper()
	for i := range max(len(got), len(prefixes)) {
		switch {
		case i >= len(got):
			t.Errorf("missing: %s", prefixes[i])
		case i >= len(prefixes):
			t.Errorf("unexpected: %s", got[i])
		case !strings.HasPrefix(got[i], prefixes[i]):
			t.Errorf("line %d\n got %s\nwant %s", i, got[i], prefixes[i])
		}
	}
}

func TestUnroutedIsRequiredWithoutACatchAll(t *testing.T) {
	text := strings.Replace(least, `"*"`, "order.picked", 1)
	compareLines(t, problemsOf(t, text), []string{`layby.yaml:2:5: consumers[0].unrouted: is required, since no route has the type "*"`})
	if c := parse(t, text, "LAYBY__CONSUMERS__0__UNROUTED=skip").Consumers[0]; c.Unrouted != UnroutedSkip {
		t.Errorf("unrouted %q", c.Unrouted)
	}
}

func TestSyntaxErrorsNameTheirPlaceAndNothingElse(t *testing.T) {
	for text, want := range map[string]string{
		"a: b: c":                  "layby.yaml:1:4: ",
		"consumers: [1, 2":         "layby.yaml:1:12: ",
		"kafka: {}\nkafka: {}":     `layby.yaml:2:1: mapping key "kafka" already defined at [1:1]`,
		"kafka: *x\n" + least:      "layby.yaml:1:8: no anchor &x stands above this alias",
		"hello":                    "layby.yaml:1:1: want sections such as kafka: and consumers:, not a text",
		"- a":                      "layby.yaml:1:1: want sections such as kafka: and consumers:, not a list",
		strings.Repeat("[", 100):   "layby.yaml:1:51: brackets nest deeper than 50 levels",
		strings.Repeat("#", 300e3): "layby.yaml: is larger than 256 KiB",
	} {
		if got := problemsOf(t, text); !strings.HasPrefix(got[0], want) {
			t.Errorf("%.30q:\n got %v\nwant %s", text, got, want)
		}
	}
}

func TestAliasesAndMergesWork(t *testing.T) {
	cfg := parse(t, `consumers:
  - &base
    group: orders
    topics: [order-events]
    workers: 8
    heartbeat: 1s
    routes: [{type: "*", skip: true}]
  - <<: *base
    group: audit
    workers: 2
`)
	if a := cfg.Consumers[1]; a.Group != "audit" || a.Workers != 2 || a.Heartbeat != time.Second || a.Topics[0] != "order-events" {
		t.Errorf("merged consumer: %+v", a)
	}
	cfg = parse(t, `consumers:
  - &first {group: a, topics: [x], workers: 1, routes: &all [{type: "*", skip: true}]}
  - &second {group: b, topics: [x], workers: 2, heartbeat: 1s, routes: *all}
  - {<<: [*first, *second], group: c}
`)
	if c := cfg.Consumers[2]; c.Group != "c" || c.Workers != 1 || c.Heartbeat != time.Second {
		t.Errorf("the first of several merged sections does not win: %+v", c)
	}
}

func TestAMapOfPoliciesHoldsWhatItDoesNotName(t *testing.T) {
	c := parse(t, least+"    after_dead_letter: {order.viewed: advance}\n").Consumers[0]
	if c.AfterDeadLetter.For("order.viewed") != Advance || c.AfterDeadLetter.For("order.picked") != Hold {
		t.Errorf("%v", c.AfterDeadLetter)
	}
}

func TestAColonInsideAWordIsAPartOfIt(t *testing.T) {
	for text, want := range map[string][]string{
		"kafka: {brokers: [localhost:9092]}":        {"localhost:9092"},
		"kafka: {brokers: [127.0.0.1:9092, k2:1 ]}": {"127.0.0.1:9092", "k2:1"},
		"kafka:\n  brokers: [a:1, b:2]":             {"a:1", "b:2"},
		"kafka:\n  brokers:\n    - a:1":             {"a:1"},
	} {
		if got := parse(t, text+"\n"+least).Kafka.Brokers; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"kafka: {brokers: [a: 1]}", `kafka: {brokers: ["a":1]}`, "kafka: {brokers: [{a: 1}]}"} {
		compareLines(t, problemsOf(t, text+"\n"+least), []string{"layby.yaml:1:19: kafka.brokers[0]: want a text, not a mapping"})
	}
}

func TestNothingBehindAKeyIsItsDefault(t *testing.T) {
	cfg := parse(t, "kafka:\n  tls:\nhttp:\nlog: {level: ~}\n"+least)
	if cfg.HTTP.Listen != "127.0.0.1:8080" || cfg.Log.Level != "info" {
		t.Errorf("http %+v log %+v", cfg.HTTP, cfg.Log)
	}
	if cfg.Kafka.TLS == nil || cfg.Kafka.SASL != nil {
		t.Error("tls: with nothing behind it must encrypt")
	}
}

func TestLoadExplainsAMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "layby.yaml")
	if _, _, err := Load(path, nil); err == nil || err.Error() != path+": there is no such file: write it, or name another one with --config" {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(path, []byte(least), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := Load(path, []string{"LAYBY__LOG__FORMAT=json", "PATH=/bin"})
	if err != nil || cfg.Log.Format != "json" {
		t.Errorf("cfg %+v, error %v", cfg, err)
	}
}

func TestWarnings(t *testing.T) {
	_, warnings, err := Parse("layby.yaml", []byte(`kafka: {sasl: {mechanism: PLAIN, user: u, password: p}}
consumers:
  - group: orders
    topics: [order-events]
    ordering: block
    retry: {tiers: [10m, 1m]}
    routes:
      - {type: "*", webhook: {url: "http://localhost/", timeout: 31s}}
      - {type: a, skip: true}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, w.String())
	}
	compareLines(t, got, []string{
		"layby.yaml:1:27: kafka.sasl.mechanism: PLAIN without kafka.tls sends the password in the clear",
		"layby.yaml:3:5: consumers[0].after_dead_letter: hold under ordering: block stops a whole partition",
		"layby.yaml:3:5: consumers[0].handler_timeout: 30s is more than half of session_timeout (10s)",
		"layby.yaml:6:26: consumers[0].retry.tiers[1]: 1m is shorter than the tier before it (10m)",
		"layby.yaml:8:66: consumers[0].routes[0].webhook.timeout: 31s is longer than handler_timeout (30s)",
		"layby.yaml:9:16: consumers[0].routes[1].type: never matches: route 0 before it takes every type",
	})
}

func TestHandlersMustBeRegistered(t *testing.T) {
	text := strings.Replace(least, `webhook: {url: "http://localhost:8000/events"}`, "handler: piking", 1)
	parse(t, text) // not checked unless the program says what it has
	_, _, err := Parse("layby.yaml", []byte(text), nil, Handlers("picking", "payment"))
	if err == nil || !strings.Contains(err.Error(), "layby.yaml:4:35: consumers[0].routes[0].handler: the program registered no handler named \"piking\"; did you mean picking?") {
		t.Errorf("error %v", err)
	}
	if _, _, err := Parse("layby.yaml", []byte(text), nil, Handlers("piking")); err != nil {
		t.Error(err)
	}
}

func TestSchemaNamesThatPostgresOrTheRolesCannotHave(t *testing.T) {
	for name, want := range map[string]string{
		"pg_layby": "is reserved by Postgres", "public": "is shared", "1layby": "is no schema name", "a-b": "is no schema name",
		strings.Repeat("a", 41): "is no schema name",
	} {
		if got := problemsOf(t, least, "LAYBY__POSTGRES__SCHEMA="+name); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	parse(t, least, "LAYBY__POSTGRES__SCHEMA="+strings.Repeat("a", 40))
}
