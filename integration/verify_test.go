package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby/verify"
)

// TestARunIsVerifiedFromItsJournals has members write down what their handlers do, one of them until it is killed. Together
// with Kafka and Postgres that is all `layby verify` needs: for the whole run, while it goes on, and for its second half alone,
// which begins with events that were parked in the first.
func TestARunIsVerifiedFromItsJournals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{consumer: `
retry: {immediate: {max: 1, backoff: 50ms}, tiers: [1s, 3s]}`})
	w.service.flaky(20, 20*time.Millisecond)
	w.service.fails("dead", 3, 1, permanent)
	journals := func(run string) { w.flags = []string{"--journal", filepath.Join(w.dir, run)} }
	files := func(runs ...string) (list []string) {
		for _, run := range runs {
			found, err := filepath.Glob(filepath.Join(w.dir, run, w.group+".*.jsonl"))
			if err != nil || len(found) == 0 {
				t.Fatalf("no journals of the %s run: %v", run, err)
			}
			list = append(list, found...)
		}
		return list
	}
	verified := func(want int, args ...string) (r verify.Report) {
		t.Helper()
		if err := json.Unmarshal([]byte(w.stdout(want, append([]string{"verify", "--complete", "-o", "json"}, args...)...)), &r); err != nil {
			t.Fatal(err)
		}
		for _, c := range []verify.Check{verify.CheckLoss, verify.CheckOrder, verify.CheckRepeats, verify.CheckBytes, verify.CheckCommits, verify.CheckAttempts} {
			if why := r.Unchecked[c]; why != "" {
				t.Errorf("%s is not checked: %s", c, why)
			}
		}
		return r
	}

	journals("first")
	orders := append(names("order", 20), "dead")
	w.rounds(10, orders...)
	m := w.start()
	victim := w.start()
	eventually(t, 20*time.Second, "a part is done", func() (bool, string) { return w.service.count(func(*call) bool { return true }) > 100, "" })
	killed := w.kill(victim)
	w.rounds(10, orders...)
	other := w.start()
	verified(0, append(files("first"), "--partial")...)
	w.rest(60 * time.Second)
	w.service.fails("order-1", 20, 1, retriable)
	w.rounds(1, orders...)
	w.allCommitted(20 * time.Second)
	m.stop()
	other.stop()
	r := verified(0, files("first")...)
	if want := len(w.produced()); r.Events != want {
		t.Errorf("%d events, expected %d", r.Events, want)
	}

	journals("second")
	w.service.heal()
	w.rounds(5, orders...)
	m = w.start()
	w.rest(60 * time.Second)
	m.stop()
	if r := verified(0, files("second")...); r.Events < 5*20 || r.Events > 5*len(orders)+2 {
		t.Errorf("%d events of the second run", r.Events)
	}
	both := files("first", "second")
	seen := w.check(except{repeat: w.mayRepeat([]crash{killed})})
	if r := verified(0, both...); r.Events != len(w.produced()) || r.Repeats > seen.repeats { // the service may answer one that is dead
		t.Errorf("%d events of both runs, and %d repeats; the service saw %d and %d", r.Events, r.Repeats, len(w.produced()), seen.repeats)
	}

	// A success that nobody wrote down is a loss.
	file := both[len(both)-1]
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	last := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, `"outcome":"succeeded"`) })
	if err := os.WriteFile(file, []byte(strings.Join(slices.Delete(lines, last, last+1), "")), 0o600); err != nil {
		t.Fatal(err)
	}
	r = verified(1, both...)
	if !slices.ContainsFunc(r.Violations, func(v verify.Violation) bool { return v.Check == verify.CheckLoss }) {
		t.Errorf("a success is missing, and that is found: %v", r.Violations)
	}
}
