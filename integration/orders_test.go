package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/integration/stack"
)

// TestTheOrderPlatformTakesAPickedOrderToItsPayment builds the program of examples/orders and runs it with its own
// configuration: what was picked is priced, a product that nobody knows is told of, and the payment is taken once.
func TestTheOrderPlatformTakesAPickedOrderToItsPayment(t *testing.T) {
	t.Parallel()
	kafka, postgres := stack.NewKafka(t, 1), stack.SharedPostgres(t)
	kafka.CreateTopics(t, 3, nil, "order-events", "payment-requests", "catalogue-inconsistencies")
	url := postgres.NewDatabase(t)
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), "create schema shop"); err != nil {
		t.Fatal(err)
	}
	catalogue := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/products/bread" {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintf(w, `{"product":%q,"code":"unknown_product"}`, path.Base(r.URL.Path))
			return
		}
		fmt.Fprint(w, `{"product":"bread","price":{"amount":250,"currency":"EUR"},"per":"each"}`)
	}))
	t.Cleanup(catalogue.Close)
	var paid atomic.Int32
	bank := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || !strings.Contains(string(body), `"amount":599`) {
			http.Error(w, string(body), http.StatusBadRequest)
			return
		}
		paid.Add(1)
		fmt.Fprint(w, `{"payment":"pay-1","status":"captured","invoice":"o-1/1","amount":{"amount":599,"currency":"EUR"}}`)
	}))
	t.Cleanup(bank.Close)

	binary := filepath.Join(t.TempDir(), "orders")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../examples/orders").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	brokers := strings.Join(kafka.Addresses(), ",")
	program := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, args...)
		cmd.Env = append(cmd.Environ(), "SHOP_POSTGRES="+url+withParameter(url, "search_path=shop"), "CATALOGUE_URL="+catalogue.URL,
			"PAYMENTS_URL="+bank.URL, "KAFKA_BROKERS="+brokers, "LAYBY__KAFKA__BROKERS="+brokers, "LAYBY__POSTGRES__URL="+url,
			"LAYBY__HTTP__LISTEN=127.0.0.1:0")
		cmd.Dir = "../examples/orders"
		return cmd
	}
	for _, args := range [][]string{{"shop-tables"}, {"config", "validate"}, {"migrate", "up"}} {
		if out, err := program(args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args, err, out)
		}
	}
	run := program("run")
	var log strings.Builder
	run.Stdout, run.Stderr = &log, &log
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()

	picked := &kgo.Record{
		Topic: "order-events", Key: []byte("o-1"), Headers: []kgo.RecordHeader{{Key: "type", Value: []byte("order.picked")}},
		Value: []byte(`{"order":"o-1","version":1,"currency":"EUR","lines":[{"line":1,"product":"bread","ordered":2,"picked":2},
			{"line":2,"product":"pitahaya","ordered":1,"picked":1,"marked_price":99}]}`),
	}
	again := *picked
	client := kafka.Client(t, kgo.ConsumeTopics("catalogue-inconsistencies"))
	if err := client.ProduceSync(t.Context(), picked, &again).FirstErr(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "the payment is captured", func() (bool, string) {
		select {
		case err := <-ended:
			t.Fatalf("it ended with %v:\n%s", err, log.String())
		default:
		}
		rows, err := pool.Query(t.Context(), "select concat_ws(' ', state, amount, payment) from shop.payment_payments")
		if err != nil {
			t.Fatal(err)
		}
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(got, ", ") == "captured 599 pay-1", strings.Join(got, ", ")
	})
	told := client.PollRecords(t.Context(), 1).Records()
	if len(told) != 1 || !strings.Contains(string(told[0].Value), `"assumed":"marked"`) {
		t.Errorf("of the product that nobody knows %v is told", told)
	}
	if err := run.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v:\n%s", err, log.String())
	}
	if n := paid.Load(); n != 1 {
		t.Errorf("the bank was asked %d times for one payment, of an order that was told twice", n)
	}
}

// withParameter is what a URL needs behind it to have one more parameter.
func withParameter(url, parameter string) string {
	if strings.Contains(url, "?") {
		return "&" + parameter
	}
	return "?" + parameter
}
