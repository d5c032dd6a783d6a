// Package doctor looks at what a consumer stands on, Kafka and Postgres, topics and rights, and says of each thing whether it
// is well and what to do if it is not. It changes nothing.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/config"
)

// Status is how a thing is.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Warning Status = "warning" // it works, and will hurt some day
	Failed  Status = "failed"  // the consumer does not run, or not as it promises
	Skipped Status = "skipped" // could not be looked at: the text says why
)

// Finding is one thing that was looked at.
type Finding struct {
	Check    string   `json:"check"`
	Consumer string   `json:"consumer,omitempty"`
	Status   Status   `json:"status"`
	Text     string   `json:"text"`
	Do       []string `json:"do,omitempty"` // what a person can do, commands among it
}

// Patient is what is looked at.
type Patient struct {
	Config *config.Config
	Kafka  []kgo.Opt // how to reach the brokers
	Pool   *pgxpool.Pool
}

// lookTimeout bounds each look at a server that does not answer.
const lookTimeout = 10 * time.Second

// Examine looks at everything and returns what it found, in the order in which a person would mend it. Its error is that of a
// context that ended.
func Examine(ctx context.Context, p Patient) ([]Finding, error) {
	e := &examination{Patient: p}
	e.kafka(ctx)
	e.postgres(ctx)
	return e.findings, ctx.Err()
}

// Healthy says that nothing has failed.
func Healthy(findings []Finding) bool {
	for i := range findings {
		if findings[i].Status == Failed {
			return false
		}
	}
	return true
}

// examination is one look.
type examination struct {
	Patient

	cluster  string // Kafka's id; empty if it is not known
	findings []Finding
}

func (e *examination) add(f Finding) { e.findings = append(e.findings, f) }

// say adds a finding about a consumer, or about all if its name is empty.
func (e *examination) say(check, consumer string, status Status, text string, do ...string) {
	e.add(Finding{Check: check, Consumer: consumer, Status: status, Text: text, Do: do})
}

// unknown adds a finding about what could not be looked at.
func (e *examination) unknown(check, consumer string, err error, do ...string) {
	e.say(check, consumer, Skipped, "not known: "+oneLine(err), do...)
}

func oneLine(err error) string {
	var exceeded bool
	if errors.Is(err, context.DeadlineExceeded) {
		exceeded = true
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	if exceeded && !strings.Contains(text, "deadline") {
		text += fmt.Sprintf(" (no answer in %v)", lookTimeout)
	}
	return text
}

// count is a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
