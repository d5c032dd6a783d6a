package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/cli"
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

// quoted looks for a block in a file that another test runs (TestTheExamplesOfHandlersTakePayments).
func quoted(t *testing.T, b *block, file string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil || !strings.Contains(string(text), b.text) {
		t.Errorf("%s does not hold, %v:\n%s", file, err, b.text)
	}
}
