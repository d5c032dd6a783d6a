package docs

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/cli"
	"github.com/layby-go/layby/handlers/webhook"
)

// handlers runs the page's handlers, and compares what it says of HTTP with what a webhook does.
func handlers(t *testing.T, p *page) {
	own := cli.Handlers{"orders": layby.NewMux()}
	valid(t, p.block("yaml", "handler: orders").text, own)
	budget := p.block("yaml", "attempts: 2").text
	valid(t, budget, own)

	program, unit, whole := p.block("go", "func orders()"), p.block("go", "layby.Judge"), p.block("go", "kfake.NewCluster")
	dir := module(t, map[string]string{
		"main.go": program.text, "unit_test.go": unit.text, "whole_test.go": whole.text,
		"pick/pick.go": pickHeader + p.block("go", "func pick(").text, "pick/pick_test.go": pickTest,
		"budget/budget_test.go": strings.ReplaceAll(budgetTest, "CONFIG", "`"+strings.Replace(budget, "skip: true", "handler: orders", 1)+"`"),
	})
	out := tool(t, dir, 0, "go", "test", "-v", "-timeout", "2m", "./...")
	for _, name := range []string{
		"TestWhatIsNoOrderIsPermanent", "TestALaterEventWaitsForTheOneThatFails", "TestTheVerdictsOfThePage", "TestAnEventRunsEightTimes",
	} {
		if !strings.Contains(out, "--- PASS: "+name) {
			t.Errorf("%s did not run:\n%s", name, out)
		}
	}

	once(t, p)
	request(t, p.block("http", "POST /events").text)
	statuses(t, p)
	quoted(t, p.block("python", "def take("), "examples/python/handler.py")
	quoted(t, p.block("ts", "Layby-Verdict"), "examples/typescript/handler.ts")
}

// pickHeader is what the page's first handler stands in: a warehouse that says what the order is called.
const pickHeader = `package pick

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/layby-go/layby"
)

type theWarehouse struct{}

var (
	warehouse theWarehouse
	errClosed = errors.New("closed")
)

func (theWarehouse) Reserve(_ context.Context, order string) (int, error) {
	switch order {
	case "closed":
		return 0, errClosed
	case "busy":
		return 0, errors.New("busy")
	case "sold out":
		return 0, nil
	case "no shelf":
		return -1, nil
	}
	return 1, nil
}

`

const pickTest = `package pick

import (
	"fmt"
	"testing"

	"github.com/layby-go/layby"
)

func TestTheVerdictsOfThePage(t *testing.T) {
	for order, want := range map[string]string{
		"": "permanent    ", "closed": "unavailable warehouse   ", "busy": "retriable    ",
		"sold out": "retriable  10m0s  ", "no shelf": "needs-correction   {\"field\":\"shelf\"} ", "fine": "success    ",
	} {
		j := layby.Judge(pick(t.Context(), &layby.Event{Resource: order, Value: []byte(order)}))
		after := ""
		if j.After != 0 {
			after = j.After.String()
		}
		if got := fmt.Sprintf("%v %s %s %s ", j.Verdict, j.Dependency, after, j.Details); got != want {
			t.Errorf("%s: %q, want %q", order, got, want)
		}
	}
}
`

// budgetTest counts how often an event runs with the page's configuration, whose tiers are seconds here.
const budgetTest = `package budget

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/parking/memory"
)

func TestAnEventRunsEightTimes(t *testing.T) {
	brokers, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "order-events"))
	if err != nil {
		t.Fatal(err)
	}
	defer brokers.Close()
	kafka := kgo.SeedBrokers(brokers.ListenAddrs()...)
	quick := strings.NewReplacer("[1m,", "[1s,", "delay: 1h", "delay: 2s").Replace(CONFIG)
	cfg, _, err := config.Parse("test.yaml", []byte(quick), nil, config.Handlers("orders"))
	if err != nil {
		t.Fatal(err)
	}
	runs := 0
	database := memory.New(nil)
	c, err := consumer.New(consumer.Options{
		Config: cfg.Consumers[0], Kafka: []kgo.Opt{kafka}, Store: parking.OpenOn(database.Connect(nil), parking.Options{}),
		Handlers: []layby.Handler{layby.HandlerFunc(func(_ context.Context, e *layby.Event) error {
			if runs++; runs != e.Attempt {
				t.Errorf("run %d is attempt %d", runs, e.Attempt)
			}
			return errors.New("again")
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, time.Second) }()
	producer, err := kgo.NewClient(kafka, kgo.DefaultProduceTopic("order-events"))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.ProduceSync(ctx, &kgo.Record{Key: []byte("o")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for len(database.Letters()) == 0 {
		<-tick.C
	}
	if n := database.Letters()[0].Attempt; n != 8 {
		t.Errorf("it died after %d runs", n)
	}
	stop()
	<-ended
}
`

// once runs the page's statements of what is done once: the second run finds the first, an older token is refused.
func once(t *testing.T, p *page) {
	t.Helper()
	pool := migrated(t)
	execute(t, pool, p, split(p.block("sql", "create table done"))...)
	owners, done := p.block("sql", "insert into owners").text, p.block("sql", "insert into done").text
	for _, c := range []struct {
		sql  string
		args []any
		rows int64
	}{
		{owners, []any{"t", 0, 7}, 1},
		{owners, []any{"t", 0, 7}, 1},
		{owners, []any{"t", 0, 9}, 1},
		{owners, []any{"t", 0, 8}, 0},
		{owners, []any{"t", 1, 8}, 1},
		{done, []any{"t", 0, 17}, 1},
		{done, []any{"t", 0, 17}, 0},
	} {
		tag, err := pool.Exec(t.Context(), c.sql, c.args...)
		if err != nil || tag.RowsAffected() != c.rows {
			t.Errorf("%s with %v: %d rows, want %d, %v", c.sql, c.args, tag.RowsAffected(), c.rows, err)
		}
	}
}

// request compares the page's request with the one that a webhook sends for that event.
func request(t *testing.T, shown string) {
	t.Helper()
	head, body, _ := strings.Cut(strings.TrimSuffix(shown, "\n"), "\n\n")
	want, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body)))
	if err != nil {
		t.Fatal(err)
	}
	var got *http.Request
	var sent []byte
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sent, _ = io.ReadAll(r.Body)
		got = r
	}))
	defer s.Close()
	h, err := webhook.New(webhook.Config{URL: s.URL + want.URL.Path, ClusterID: func() string { return "aKmckewxc6s4bp6rmB0fyw" }})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	err = h.Handle(t.Context(), &layby.Event{
		Topic: "order-events", Partition: 3, Offset: 1841, Key: []byte("order-17"), Value: []byte(body), Type: "order.picked",
		Resource: "order-17", Attempt: 2, Token: 42, Timestamp: time.Date(2026, 1, 1, 12, 0, 0, 123e6, time.UTC),
	})
	if err != nil {
		t.Fatal(err)
	}
	got.Header.Del("Accept-Encoding") // the transport's own
	if got.Method != want.Method || got.URL.Path != want.URL.Path || got.ContentLength != int64(len(body)) || !bytes.Equal(sent, []byte(body)) {
		t.Errorf("%s %s %d %s", got.Method, got.URL.Path, got.ContentLength, sent)
	}
	same := func(a, b []string) bool { return strings.Join(a, "|") == strings.Join(b, "|") }
	if want.Header.Get("Content-Length") != "" {
		want.Header.Del("Content-Length")
	}
	got.Header.Del("Content-Length")
	if !maps.EqualFunc(got.Header, want.Header, same) {
		t.Errorf("the page has\n%v\nand sent is\n%v", want.Header, got.Header)
	}
}

// statuses compares the page's tables of statuses with what a webhook makes of each.
func statuses(t *testing.T, p *page) {
	t.Helper()
	table := p.text[strings.Index(p.text, "| status | verdict |"):]
	table = table[:strings.Index(table, "\n\n")]
	want, other := map[int]string{}, ""
	for _, m := range regexp.MustCompile(`(?m)^\| (.*) \| (success|retriable|unavailable|permanent) \|$`).FindAllStringSubmatch(table, -1) {
		if m[1] == "other" {
			other = m[2]
			continue
		}
		for _, part := range strings.Split(m[1], ", ") {
			from, to, _ := strings.Cut(part, " to ")
			first, err := strconv.Atoi(from)
			last := first
			if err == nil && to != "" {
				last, err = strconv.Atoi(to)
			}
			if err != nil {
				t.Fatalf("%s is no status: %v", part, err)
			}
			for code := first; code <= last; code++ {
				want[code] = m[2]
			}
		}
	}
	answer := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(answer) }))
	defer s.Close()
	h, err := webhook.New(webhook.Config{URL: s.URL, Breakers: webhook.NewBreakers("", webhook.BreakerConfig{MinCalls: 10_000})})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for answer = 200; answer < 600; answer++ {
		expected := want[answer]
		if expected == "" {
			expected = other
		}
		if got := fmt.Sprint(layby.Judge(h.Handle(t.Context(), &layby.Event{})).Verdict); got != expected {
			t.Errorf("%d is %s, and the page says %s", answer, got, expected)
		}
	}
}

// quoted looks for a block in a file that another test runs (TestTheExamplesOfHandlersTakePayments).
func quoted(t *testing.T, b *block, file string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil || !strings.Contains(string(text), b.text) {
		t.Errorf("%s does not hold, %v:\n%s", file, err, b.text)
	}
}
