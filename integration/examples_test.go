package integration

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestTheExamplesOfHandlersTakePayments runs the handlers of examples/ as services of a consumer: payments are taken, one waits
// while the bank is down, an expired card awaits its correction, and what is no payment is dead.
func TestTheExamplesOfHandlersTakePayments(t *testing.T) {
	t.Parallel()
	for name, example := range map[string]struct {
		dir   string
		build [][]string
		run   []string
	}{
		"Python":     {"../examples/python", nil, []string{"python3", "handler.py", "0"}},
		"TypeScript": {"../examples/typescript", [][]string{{"npm", "ci", "--no-audit", "--no-fund"}, {"npx", "tsc"}}, []string{"node", "handler.js", "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, command := range example.build {
				tool(t, example.dir, command...)
			}
			w := newWorld(t, setup{partitions: 1, consumer: `
retry: {immediate: {max: 0}, tiers: [1s]}
routes: [{type: "*", webhook: {url: "http://127.0.0.1:` + serve(t, example.dir, example.run...) + `/events", timeout: 5s}}]
`})
			pay := func(resource, value string) *event {
				return w.event(resource, func(r *kgo.Record) { r.Value = []byte(value) })
			}
			w.produce(pay("fine", `{"amount": 199, "card": "good"}`), pay("expired", `{"amount": 299, "card": "expired"}`),
				pay("garbage", `{"amount": `), pay("nothing", `null`), pay("late", `{"amount": 399, "card": "bank down"}`), pay("fine", `{"amount": 99, "card": "good"}`))
			w.start()
			w.allCommitted(30 * time.Second)
			want := "expired awaiting correction the card has expired, garbage dead this is no payment, nothing dead this is no payment"
			eventually(t, 30*time.Second, "three have their verdicts, and one was tried", func() (bool, string) {
				got := sqlValue[string](w, `select coalesce(string_agg(resource_text || ' ' || state || ' ' ||
					regexp_replace(error_text, '^.*: ', ''), ', ' order by resource_text), '') from layby.dead_letters where resource_text <> 'late'`)
				tried := sqlValue[bool](w, `select exists (select from layby.parked_events where resource_text = 'late' and attempt > 0)
					or exists (select from layby.dead_letters where resource_text = 'late')`)
				return got == want && tried, got
			})
		})
	}
}

// tool runs a command in a directory to its end.
func tool(t *testing.T, dir string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Fatalf("%v: this test needs Python 3 and Node 18 or later with npm", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s in %s: %v\n%s", strings.Join(args, " "), dir, err, out)
	}
}

// serve starts a service that says on which port it listens, and stops it with the test.
func serve(t *testing.T, dir string, args ...string) (port string) {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Fatalf("%v: this test needs Python 3 and Node 18 or later with npm", err)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, scanned := fmt.Sscanf(line, "listening on %s", &port); scanned != nil {
		t.Fatalf("%s said %q, %v", args[0], line, err)
	}
	return port
}
