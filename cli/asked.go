package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/dls"
)

// askedView is what was asked for, in JSON.
type askedView struct {
	Act       string         `json:"act"`
	Operation int64          `json:"operation"`
	Command   int64          `json:"command,omitempty"`
	Letters   int            `json:"letters,omitempty"`
	Amended   *amendedView   `json:"amended,omitempty"`
	Skipped   []skippedView  `json:"skipped,omitempty"`
	Notes     []string       `json:"notes,omitempty"`
	Result    *operationView `json:"result,omitempty"`

	text string // of what is asked for, for a person
}

// afterAsking says what was asked for, and for whom it waits where nobody is there to do it. With wait it follows the operation to
// its end.
func (a *app) afterAsking(ctx context.Context, cfg *config.Config, store *dls.Store, v *askedView, output format, wait bool) error {
	what := v.text
	if what == "" {
		what = fmt.Sprintf("%s of %s is asked for", v.Act, count(v.Letters, "dead letter"))
	}
	if output == asTable {
		if _, err := fmt.Fprintf(a.stdout, "%s: operation %d\n", what, v.Operation); err != nil {
			return err
		}
		for _, s := range v.Skipped {
			if _, err := io.WriteString(a.stdout, skippedText([]dls.Skipped{dls.Skipped(s)})); err != nil {
				return err
			}
		}
	}
	v.Notes = a.waitsFor(ctx, cfg, store, v.Operation)
	for _, note := range v.Notes {
		fmt.Fprintln(a.stderr, printable(note))
	}
	if !wait {
		if output == asTable {
			fmt.Fprintf(a.stderr, "to follow it: layby op watch %d\n", v.Operation)
			return nil
		}
		return writeOne(a.stdout, output, v)
	}
	o, err := a.follow(ctx, store, v.Operation)
	if err != nil {
		return err
	}
	if output != asTable {
		result := viewOperation(o)
		v.Result = &result
		if err := writeOne(a.stdout, output, v); err != nil {
			return err
		}
		return becameOf(o)
	}
	if err := a.writeOutcome(ctx, store, o); err != nil {
		return err
	}
	return becameOf(o)
}

// An owner that is there has begun within this time; only then Kafka is asked whether it is.
const (
	beginsWithin = time.Second
	askAgain     = 100 * time.Millisecond
	askKafka     = 3 * time.Second
)

// waitsFor says for whom an operation waits, where nobody seems to be there. What can't be found out is not said: the command is
// asked for anyway.
func (a *app) waitsFor(ctx context.Context, cfg *config.Config, store *dls.Store, operation int64) (notes []string) {
	var owned []dls.Wait
	before := -1
	for end := time.Now().Add(beginsWithin); ; {
		waits, err := store.Waits(ctx, operation)
		if err != nil {
			return nil
		}
		notes, owned = nil, nil
		left := 0
		for _, w := range waits {
			left += w.Commands
			switch {
			case w.Instance == "":
				notes = append(notes, fmt.Sprintf("partition %d of %s waits for an owner: nobody has it", w.Partition, w.Consumer))
			case w.Ended != nil:
				notes = append(notes, fmt.Sprintf("partition %d of %s waits for an owner: nobody has it, since %s (last %s)",
					w.Partition, w.Consumer, moment(*w.Ended), w.Instance))
			case w.Due > 0:
				owned = append(owned, w)
			}
		}
		if len(owned) == 0 || before >= 0 && left < before || time.Now().After(end) {
			if left < before {
				owned = nil
			}
			break
		}
		before = left
		select {
		case <-ctx.Done():
			return notes
		case <-time.After(askAgain):
		}
	}
	const shown = 5
	if more := len(notes) - shown; more > 0 {
		notes = append(notes[:shown], fmt.Sprintf("and so do %d more partitions", more))
	}
	return append(notes, a.gone(ctx, cfg, owned)...)
}

// gone says which of the consumers that seem to own partitions have no member: whose process was killed leaves no trace in Postgres.
func (a *app) gone(ctx context.Context, cfg *config.Config, owned []dls.Wait) (notes []string) {
	asked := map[string]bool{}
	for _, w := range owned {
		if asked[w.Consumer] {
			continue
		}
		asked[w.Consumer] = true
		members, err := 0, error(nil)
		err = withKafka(cfg.Kafka, func(adm *kadm.Client) error {
			ctx, cancel := context.WithTimeout(ctx, askKafka)
			defer cancel()
			members, err = membersOf(ctx, adm, w.Consumer)
			return err
		})
		switch {
		case err != nil:
			notes = append(notes, fmt.Sprintf("%s has not begun; whether it runs is not known, as Kafka does not say", w.Consumer))
		case members == 0:
			notes = append(notes, fmt.Sprintf("%s waits for an owner: no member of the group runs", w.Consumer))
		}
	}
	return notes
}

// writeOne writes one value in JSON: indented, or in one line.
func writeOne(w io.Writer, output format, v any) error {
	if output == asJSONL {
		return writeJSONL(w, []any{v})
	}
	return writeJSON(w, v)
}

// sentence joins parts that are not empty.
func sentence(parts ...string) string {
	var list []string
	for _, p := range parts {
		if p != "" {
			list = append(list, p)
		}
	}
	return strings.Join(list, ", ")
}
