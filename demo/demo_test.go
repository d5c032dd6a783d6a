package demo_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/cli"
)

// printed is what the demo writes. It is safe for concurrent use, and tells when a text has come.
type printed struct {
	mu    sync.Mutex
	text  bytes.Buffer
	until string
	seen  func()
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.text.Write(b)
	if p.seen != nil && strings.Contains(p.text.String(), p.until) {
		p.seen()
	}
	return n, err
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// run runs the demo with all its files in a directory, which must be empty afterwards.
func run(t *testing.T, ctx context.Context, out *printed, args ...string) int {
	t.Helper()
	t.Setenv(asMember, "1")
	dir := openDir(t)
	t.Setenv("TMPDIR", dir)
	code := cli.Run(ctx, append([]string{"demo"}, args...), strings.NewReader(""), out, out)
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		t.Errorf("the demo left %s behind", f.Name())
	}
	return code
}

// openDir is a temporary directory that others may enter: root's Postgres runs as another user.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "layby-demo-test-") //nolint:usetesting // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The small demo kills a member, adds one, takes a service down and poisons some orders, as the large one does.
func TestDemoHoldsTheGuarantees(t *testing.T) {
	if testing.Short() {
		t.Skip("runs servers for some 15 s")
	}
	out, picture := &printed{}, filepath.Join(t.TempDir(), "demo.svg")
	code := run(t, t.Context(), out, "--orders", "60", "--seed", "2", "--timeline", picture)
	text := out.String()
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, text)
	}
	for _, want := range []string{
		` events of 60 orders in`,
		`SIGKILL to member 2`,
		`Member 4 joins`,
		`The payment service goes down`,
		`The catalogue gets slow`,
		`The payment service flaps`,
		`healed in place +[1-9]`,
		`healed by tier 1s +[1-9]`,
		`payments +\w+ +CardRefused +1 +1 +1 `,
		`select layby\.amend\(id, jsonb_set\(.*'\{card\}'`,
		`would replay [1-9]\d* dead letters of`,
		`replay of [1-9]\d* dead letters is asked for`,
		`replay +finished`,
		`payments +\w+ +CardRefused +0 +1 +1 `,
		`healed by a replay +[1-9]`,
		`dead letters +0 `,
		`held +0 `,
		`unknown products +3 .* 1 priced by their barcode, 1 by their mark, 1 for free; 3 were told`,
		`payments +60 +captured`,
		`lost events +0 `,
		`order violations +0 `,
		`runs after a success +0 `,
		`charged twice +0 `,
		`All guarantees that are checked here held\.`,
		`CardRefused of payments: the customers are asked`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("the output has nothing like %q:\n%s", want, text)
		}
	}
	if b, err := os.ReadFile(picture); err != nil || !bytes.Contains(b, []byte("<svg")) {
		t.Errorf("the picture has %d bytes: %v", len(b), err)
	}
}

func TestDemoEndsWithItsContextAndLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("runs servers for some seconds")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &printed{until: "The payment service goes down", seen: cancel}
	if code := run(t, ctx, out, "--orders", "30", "--timeline", ""); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if text := out.String(); strings.Contains(text, "BROKEN") || strings.Contains(text, "Guarantees") {
		t.Errorf("an interrupted demo judges nothing:\n%s", text)
	}
}

// In the demo that goes on, the dead letters are corrected and replayed as it says, and all heal.
func TestDemoKeepsRunningUntilItsContextEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("runs servers for some 20 s")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := make(chan struct{})
	out := &printed{until: `-c "select layby.replay(id`, seen: sync.OnceFunc(func() { close(ready) })}
	code := make(chan int, 1)
	go func() { code <- run(t, ctx, out, "--orders", "30", "--keep", "--timeline", "") }()
	select {
	case <-ready:
	case c := <-code:
		t.Fatalf("it ended with %d:\n%s", c, out)
	}
	text := out.String()
	for _, want := range []string{
		`All guarantees that are checked here held`, `brokers +127\.0\.0\.1:`, `psql 'postgres://`, ` dls list -c \S+layby\.yaml`, ` status -c \S+layby\.yaml`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("the output has nothing like %q:\n%s", want, text)
		}
	}
	replay := regexp.MustCompile(`replay +psql '(.*)' -c "(.*)"`).FindStringSubmatch(text)
	if replay == nil {
		t.Fatalf("nothing says how to replay:\n%s", text)
	}
	db, err := pgx.Connect(t.Context(), replay[1])
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(t.Context()))
	corrections := regexp.MustCompile(`(?s)        (select layby\.amend\(.*?);`).FindAllStringSubmatch(text, -1)
	if len(corrections) != 3 {
		t.Fatalf("%d groups are to be corrected:\n%s", len(corrections), text)
	}
	for _, c := range corrections {
		if tag, err := db.Exec(t.Context(), c[1]); err != nil || tag.RowsAffected() == 0 {
			t.Fatalf("%s: %v, %v", c[1], tag, err)
		}
	}
	asked, err := db.Exec(t.Context(), replay[2])
	if err != nil || asked.RowsAffected() < 7 {
		t.Fatalf("%d letters are replayed: %v", asked.RowsAffected(), err)
	}
	for healed := int64(0); healed < asked.RowsAffected(); {
		if err := db.QueryRow(t.Context(), `select count(*) from layby.dead_letters where state = 'healed'`).Scan(&healed); err != nil {
			t.Fatal(err)
		}
		select {
		case c := <-code:
			t.Fatalf("it ended with %d when %d of %d were healed:\n%s", c, healed, asked.RowsAffected(), out)
		case <-time.After(50 * time.Millisecond):
		}
	}
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("exit code %d", c)
	}
}

func TestDemoRefusesImpossibleSizes(t *testing.T) {
	for _, args := range [][]string{{"--orders", "0"}, {"--orders", "-1"}, {"--orders", "1000000"}} {
		out := &printed{}
		if code := run(t, t.Context(), out, args...); code != 2 {
			t.Errorf("%v: exit code %d, want 2: %s", args, code, out)
		}
	}
}
