package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby"
)

// lines is a writer that hands out the lines written to it.
type lines struct {
	mu   sync.Mutex
	all  bytes.Buffer
	rest []byte
	out  chan string
}

func newLines() *lines { return &lines{out: make(chan string, 10_000)} }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Write(b)
	l.rest = append(l.rest, b...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		l.rest = rest
		l.out <- string(line)
	}
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// await waits for a line that holds a text.
func (l *lines) await(t *testing.T, text string) string {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case line := <-l.out:
			if strings.Contains(line, text) {
				return line
			}
		case <-timeout:
			t.Fatalf("no line with %q:\n%s", text, l.text())
		}
	}
}

// get asks the process over HTTP.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// fakeBrokers starts one broker of kfake, until the test ends.
func fakeBrokers(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	brokers, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(brokers.Close)
	return brokers
}

func TestRunConsumesUntilItIsStopped(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "order-events"))
	const events = 30
	handled := make(chan string, 10*events)
	opts = append(opts, Handlers{"picking": layby.HandlerFunc(func(_ context.Context, e *layby.Event) error {
		handled <- string(e.Value)
		if string(e.Value) == "7" {
			return layby.Permanent(errors.New("no such product"))
		}
		return nil
	})}, Version("v1.2.3"))
	besides := make(chan string, 2)
	opts = append(opts, Beside(func(ctx context.Context) error {
		besides <- "starts"
		<-ctx.Done()
		besides <- "is told to stop"
		return ctx.Err()
	}))
	path := filepath.Join(t.TempDir(), "layby.yaml")
	file := "http: {listen: '127.0.0.1:0'}\nkafka: {brokers: [" + strings.Join(brokers.ListenAddrs(), ",") + "]}\n" +
		strings.Replace(valid, "skip: true", "handler: picking", 1) + "    heartbeat: 100ms\n"
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := try(t, file, opts, "migrate", "up"); r.code != exitDone {
		t.Fatalf("%+v", r)
	}
	produce(t, brokers.ListenAddrs(), events)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stderr := newLines()
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, []string{"-c", path, "run"}, strings.NewReader(""), io.Discard, stderr, opts...)
	}()
	line := stderr.await(t, "serving probes and metrics")
	address := "http://" + line[strings.Index(line, "address=")+len("address="):]

	seen := map[string]bool{}
	for timeout := time.After(30 * time.Second); len(seen) < events; {
		select {
		case value := <-handled:
			seen[value] = true
		case c := <-code:
			t.Fatalf("run ended with %d:\n%s", c, stderr.text())
		case <-timeout:
			t.Fatalf("%d of %d events:\n%s", len(seen), events, stderr.text())
		}
	}
	if status, body := get(t, address+"/readyz?verbose"); status != http.StatusOK || !strings.Contains(body, "[+]consumer orders ok\n") {
		t.Errorf("readyz %d: %s", status, body)
	}
	_, metrics := get(t, address+"/metrics")
	for _, want := range []string{
		`layby_events_handled_total{consumer="orders",outcome="success",type="none"} `, `layby_build_info{`, `version="v1.2.3"} 1`,
		`layby_partition_state{consumer="orders",partition="2",state="running"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in /metrics", want)
		}
	}
	cancel()
	if c := <-code; c != exitDone {
		t.Errorf("exit code %d:\n%s", c, stderr.text())
	}
	if len(besides) != 2 { // and not a third time below: it is for run alone
		t.Errorf("what runs beside the consumers was started and stopped %d times in all, expected once each", len(besides))
	}
	try(t, file, opts, "dls", "list").expect(t, exitDone, "no such product", "")
}

// produce writes events 0, 1, 2, ... of ten resources.
func produce(t *testing.T, addresses []string, n int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addresses...), kgo.DefaultProduceTopic("order-events"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range n {
		rec := &kgo.Record{Key: fmt.Appendf(nil, "o-%d", i%10), Value: fmt.Append(nil, i)}
		if i%10 == 7 { // a resource of its own for the one that fails, so that nothing is held behind it
			rec.Key = fmt.Appendf(nil, "alone-%d", i)
		}
		if err := client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}
