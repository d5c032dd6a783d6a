package consumer

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"

	"github.com/layby-go/layby/consumer/internal/pool"
	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/telemetry"
)

// meter tells the metrics what happens; without metrics it does nothing.
type meter struct {
	to  *telemetry.Consumer
	all *telemetry.Metrics
}

func newMeter(m *telemetry.Metrics, consumer string) *meter {
	if m == nil {
		return &meter{}
	}
	return &meter{to: m.Consumer(consumer), all: m}
}

// outcomes are the label values of a run's end.
var outcomes = [...]string{
	ordering.NotRun: "not_run", ordering.Success: "success", ordering.Retriable: "retriable",
	ordering.Permanent: "permanent", ordering.NeedsCorrection: "needs_correction",
	ordering.Unavailable: "unavailable", ordering.Stuck: "stuck",
}

// results counts how runs ended; runs of equal outcome and type are counted together.
func (m *meter) results(list []ordering.Result) {
	if m.to == nil || len(list) == 0 {
		return
	}
	var room [64]time.Duration
	took := room[:0]
	from := 0
	for i := range list {
		r := &list[i]
		if r.Verdict != ordering.NotRun {
			took = append(took, r.Took)
		}
		last := &list[from]
		if r.Verdict != last.Verdict || r.Work.Event.Type != last.Work.Event.Type {
			m.to.AddHandled(outcomes[last.Verdict], last.Work.Event.Type, i-from)
			from = i
		}
	}
	m.to.ObserveHandlers(took)
	m.to.AddHandled(outcomes[list[from].Verdict], list[from].Work.Event.Type, len(list)-from)
}

func (m *meter) partition(number int32, st *Status) {
	if m.to != nil {
		p := m.to.Partition(number)
		var reason string // of a few values: the text of an error would make a label of any number
		switch st.State {
		case Paused:
			reason = st.Reason
		case Acquiring, Stopped:
			reason = string(st.State)
		case Running, Leaving:
		}
		p.SetState(string(st.State), reason)
		p.SetSuspect(st.Suspect)
	}
}

func (m *meter) purged(p dls.Purged) {
	if m.to != nil {
		m.to.AddPurged("letters", p.Letters)
		m.to.AddPurged("commands", p.Commands)
		m.to.AddPurged("operations", p.Operations)
	}
}

// The results of copies of dead letters.
const (
	copied    = "copied"
	shortened = "shortened"
	notCopied = "failed"
)

func (m *meter) copies(result string, n int) {
	if m.to != nil && n > 0 {
		m.to.AddCopies(result, n)
	}
}

func (m *meter) gone(number int32) {
	if m.to != nil {
		m.to.Partition(number).Drop()
	}
}

func (m *meter) report(r *ordering.Report) {
	if m.to != nil && r.Kind == ordering.ReportDead {
		m.to.AddDeadLetters(r.Class, 1)
	}
}

func (m *meter) foreign(topic string) {
	if m.to != nil {
		m.to.AddForeign(topic, 1)
	}
}

func (m *meter) written(took time.Duration, err error) {
	if m.to != nil {
		m.to.ObserveWrite(took, err)
	}
}

func (m *meter) committed(took time.Duration, err error) {
	if m.to != nil {
		m.to.ObserveCommit(took, err)
	}
}

func (m *meter) produced(took time.Duration, outcome ordering.Outcome) {
	if m.to != nil {
		var err error
		if outcome != ordering.Acknowledged {
			err = errNotAcknowledged
		}
		m.to.ObserveProduce(took, err)
	}
}

var errNotAcknowledged = errors.New("not acknowledged")

func (m *meter) late(d time.Duration) {
	if m.to != nil {
		m.to.ObserveLateness(d)
	}
}

// counts publishes a lane's sizes; ends are where its source topics end, parallel to them.
func (m *meter) counts(ln *lane, c ordering.Counts, marks ordering.Marks, ends []int64) {
	if m.to == nil {
		return
	}
	p := m.to.Partition(ln.partition)
	p.SetParked(c.Resources, c.Parked, c.Since, c.Oldest)
	for i, s := range ln.sources {
		if i < len(ends) && ends[i] >= 0 {
			p.SetLag(s.topic, max(0, ends[i]-marks.Sources[i].Offset), c.Lowest[i])
		}
	}
	for i, t := range ln.tiers {
		p.SetTier(t.Name, c.Waiting[i], c.Overdue[i])
	}
}

// grown publishes how many partitions a source topic has more than the consumer works under.
func (m *meter) grown(topic string, more int) {
	if m.to != nil {
		m.to.SetGrowth(topic, more)
	}
}

func (m *meter) pool(s pool.Stats) {
	if m.to != nil {
		m.to.SetHandlers(s.Running, s.Waiting, s.Stuck)
	}
}

// gate publishes the state of a route's gate.
func (m *meter) gate(route, dependency string, closed bool) {
	if m.to != nil {
		m.to.SetGate(route, dependency, closed)
	}
}

// away publishes whether Postgres answers.
func (m *meter) away(away bool) {
	if m.all != nil {
		m.all.SetPostgresAway(away)
	}
}

// client are the hooks that publish the metrics of one of the consumer's Kafka clients.
func (m *meter) client(consumer, client string) []kgo.Opt {
	if m.all == nil {
		return nil
	}
	return []kgo.Opt{kgo.WithHooks(kprom.NewMetrics("layby_kafka", kprom.Registry(m.all.Registry()),
		kprom.WithStaticLabel(prometheus.Labels{"consumer": consumer, "client": client})))}
}
