package integration

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestWhatIsWrongIsSaidAtTheStart starts members whose configuration, or whose topics, can't be worked with. Each ends with one
// message that says what is wrong, where, and what to write or do; no handler has run, and no topic was made.
func TestWhatIsWrongIsSaidAtTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{sources: 2, partitions: 2})
	w.rounds(3, names("order", 4)...)
	left, right := w.sources[0], w.sources[1]

	w.refused(2, "heartbeet: 1s\nretries: {tiers: [1m]}",
		"consumers[0].heartbeet: is an unknown key; did you mean heartbeat?", "consumers[0].retries: is an unknown key; known here: group, topics, ")
	w.refused(2, fmt.Sprintf("topics: ['%s', '%s.*']", left, w.group),
		fmt.Sprintf("consumers[0].topics[1]: %q is a pattern: write the exact name of each topic", w.group+".*"))
	own := "consumers[0].topics[%d]: %q is a topic that Layby itself writes for the group %s: write the topics of your events only"
	w.refused(2, fmt.Sprintf("topics: [%s, %s, %s.errors]", left, w.tier("1s"), w.group),
		fmt.Sprintf(own, 1, w.tier("1s"), w.group), fmt.Sprintf(own, 2, w.group+".errors", w.group))
	if _, err := w.admin.UpdatePartitions(t.Context(), 3, right); err != nil {
		t.Fatal(err)
	}
	w.refused(1, "", fmt.Sprintf("start consumer %s: source topics of one consumer have equal partition counts: %s has 2, %s has 3 "+
		"(`layby topics grow` makes them equal)", w.group, left, right))

	if topics, err := w.admin.ListTopics(t.Context()); err != nil || topics.Has(w.tier("1s")) {
		t.Errorf("a retry topic was made, or it is not known: %v", err)
	}
	if n := w.service.count(func(*call) bool { return true }); n != 0 {
		t.Errorf("%d handlers have run", n)
	}
	// What the last message says to do is all that is to be done.
	w.run(0, "topics", "grow", "--partitions", "3", "--yes")
	w.start()
	w.rest(40 * time.Second)
	w.check(except{})
}

// placed is how a problem of the configuration begins: with file, line and column.
var placed = regexp.MustCompile(`^(layby: )?\S+\.yaml:\d+:\d+: `)

// refused starts a member with other keys of the consumer, and expects it to end with an exit code and one message, of these
// problems, each once.
func (w *world) refused(code int, keys string, problems ...string) {
	w.t.Helper()
	before := maps.Clone(w.consumers[0])
	w.set(keys)
	m := w.launch()
	w.consumers[0] = before
	if got := m.wait(stopTimeout); got != code {
		w.t.Errorf("exit code %d with %q, expected %d: %s", got, keys, code, m.tail())
	}
	_, message, found := strings.Cut("\n"+m.text(), "\nlayby: ")
	if !found || strings.Contains(message, "\nlayby: ") || strings.Contains(message, "level=") {
		w.t.Errorf("not one message at the end: %s", m.tail())
	}
	if head := fmt.Sprintf("has %d problems:\n", len(problems)); len(problems) > 1 && !strings.Contains(message, head) {
		w.t.Errorf("the message does not say that it %s%s", head, message)
	}
	for _, problem := range problems {
		line := lineOf(message, problem)
		if strings.Count(message, problem) != 1 || code == 2 && !placed.MatchString(line) {
			w.t.Errorf("the message lacks %q with its place, or says it more than once: %s", problem, message)
		}
	}
	if lines := strings.Count(message, "\n"); lines > len(problems)+1 {
		w.t.Errorf("a message of %d lines for %d problems: %s", lines, len(problems), message)
	}
}
