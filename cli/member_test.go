package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/telemetry"
)

func TestErrorsAtAStartThatHealByThemselves(t *testing.T) {
	for _, err := range []error{
		&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}, syscall.ECONNRESET, io.ErrUnexpectedEOF, context.DeadlineExceeded,
		kerr.NotController, kerr.CoordinatorLoadInProgress, kerr.RequestTimedOut, kerr.LeaderNotAvailable,
		&pgconn.ConnectError{}, &pgconn.PgError{Code: "57P03"}, &pgconn.PgError{Code: "25006"}, &pgconn.PgError{Code: "53300"},
	} {
		for _, wrapped := range []error{err, fmt.Errorf("start: %w", err), errors.Join(err, errors.New("more"))} {
			if !healsByItself(wrapped) {
				t.Errorf("%v is taken for good", wrapped)
			}
		}
	}
	for _, err := range []error{
		errors.New("source topic x does not exist"), kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.InvalidSessionTimeout,
		kerr.SaslAuthenticationFailed, migrations.ErrOldSchema, &pgconn.PgError{Code: "42501"}, &pgconn.PgError{Code: "28P01"},
		errors.Join(migrations.ErrOldSchema, context.DeadlineExceeded),
	} {
		if healsByItself(fmt.Errorf("start: %w", err)) {
			t.Errorf("%v is waited for", err)
		}
	}
}

// vitals is a consumer as liveness sees it.
type vitals struct {
	waits           string
	partitions      int
	handlers        int
	silent, stuckAt time.Duration
}

func (v vitals) Waits() string                { return v.waits }
func (v vitals) Silent() (int, time.Duration) { return v.partitions, v.silent }
func (v vitals) Stuck() (int, time.Duration)  { return v.handlers, v.stuckAt }

// TestLivenessTurnsRedWhenARestartWouldHelp has handlers be stuck for longer and longer, with stuck_grace 10 s.
func TestLivenessTurnsRedWhenARestartWouldHelp(t *testing.T) {
	for name, c := range map[string]struct {
		consumer vitals
		well     time.Duration
		want     string
	}{
		"nothing":                        {well: time.Hour},
		"stuck":                          {consumer: vitals{handlers: 1, stuckAt: 9 * time.Minute}, well: time.Hour},
		"stuck for long":                 {consumer: vitals{handlers: 2, stuckAt: 11 * time.Minute}, well: time.Hour, want: "2 handlers ignore that their context has ended, the first of them was given up 11m0s ago"},
		"perhaps not parked":             {consumer: vitals{handlers: 1, stuckAt: time.Hour}, well: 9 * time.Minute},
		"without a lease":                {consumer: vitals{handlers: 1, stuckAt: time.Hour, waits: "no heartbeat"}, well: time.Hour},
		"a partition that works":         {consumer: vitals{partitions: 1, silent: 5 * time.Second}, well: time.Hour},
		"one that does not answer":       {consumer: vitals{partitions: 1, silent: 6 * time.Minute}, well: time.Hour, want: "1 partitions do not answer, the first of them for 6m0s"},
		"nor while the servers are away": {consumer: vitals{partitions: 1, silent: 6 * time.Minute, waits: "no heartbeat"}, want: "1 partitions do not answer"},
	} {
		if got := dead(c.consumer, c.well, 10*time.Second); !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestHowLongAServerHasBeenThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &process{metrics: telemetry.New(telemetry.Build{}), away: map[string]string{kafka: "not asked yet"}, back: map[string]time.Time{}}
		expect := func(reason string, well time.Duration) {
			t.Helper()
			if p.reason(kafka) != reason || p.well(kafka) != well {
				t.Errorf("%q, there for %v; want %q, %v", p.reason(kafka), p.well(kafka), reason, well)
			}
		}
		expect("not asked yet", 0)
		for range 3 {
			p.setAway(kafka, nil)
			time.Sleep(time.Minute)
		}
		expect("", 3*time.Minute)
		p.setAway(kafka, errors.New("refused\nrefused"))
		expect("refused", 0)
		time.Sleep(time.Minute)
		p.setAway(kafka, nil)
		time.Sleep(time.Second)
		expect("", time.Second)
	})
}

// started is a `layby run` that goes on until the test ends.
type started struct {
	t      *testing.T
	stderr *lines
	code   chan int
	stop   context.CancelFunc
	url    string
}

// startRun starts `layby run` with consumers on a fake broker, and waits until it serves its probes.
func startRun(t *testing.T, brokers *kfake.Cluster, consumers string) *started {
	t.Helper()
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	opts = append(opts, Handlers{"picking": nothing})
	file := "http: {listen: '127.0.0.1:0'}\nkafka: {brokers: [" + strings.Join(brokers.ListenAddrs(), ",") + "]}\nconsumers:\n" + consumers
	if r := try(t, file, opts, "migrate", "up"); r.code != exitDone {
		t.Fatalf("%+v", r)
	}
	path := filepath.Join(t.TempDir(), "layby.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &started{t: t, stderr: newLines(), code: make(chan int, 1), stop: cancel}
	go func() {
		s.code <- Run(ctx, []string{"-c", path, "run"}, strings.NewReader(""), io.Discard, s.stderr, opts...)
	}()
	line := s.stderr.await(t, "serving probes and metrics")
	s.url = "http://" + line[strings.Index(line, "address=")+len("address="):]
	return s
}

// ready waits until readyz answers with a status and a text.
func (s *started) ready(status int, text string) {
	s.t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		got, body := get(s.t, s.url+"/readyz?verbose")
		if got == status && strings.Contains(body, text) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("readyz is never %d with %q: %d %s\n%s", status, text, got, body, s.stderr.text())
		}
	}
}

// end stops it and expects a good end.
func (s *started) end() {
	s.t.Helper()
	s.stop()
	if code := <-s.code; code != exitDone {
		s.t.Errorf("exit code %d:\n%s", code, s.stderr.text())
	}
}

const oneConsumer = "  - {group: orders, topics: [order-events], heartbeat: 100ms, routes: [{type: '*', handler: picking}]}\n"

// TestAStartThatFailsForAMomentIsTriedAgain has the brokers create no topic twice, as while they elect a controller.
func TestAStartThatFailsForAMomentIsTriedAgain(t *testing.T) {
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "order-events"))
	var refused atomic.Int32
	brokers.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		brokers.KeepControl()
		if refused.Add(1) > 6 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)        //nolint:errcheck // of this key
		for _, topic := range req.(*kmsg.CreateTopicsRequest).Topics { //nolint:errcheck // of this key
			one := kmsg.NewCreateTopicsResponseTopic()
			one.Topic, one.ErrorCode = topic.Topic, kerr.RequestTimedOut.Code
			resp.Topics = append(resp.Topics, one)
		}
		return resp, nil, true
	})
	s := startRun(t, brokers, oneConsumer)
	s.ready(http.StatusServiceUnavailable, "REQUEST_TIMED_OUT")
	s.ready(http.StatusOK, "[+]consumer orders ok")
	s.end()
}

// TestTheOnlyConsumerEndsWithTheReasonThatNeedsAPerson has the only consumer's topic not be there.
func TestTheOnlyConsumerEndsWithTheReasonThatNeedsAPerson(t *testing.T) {
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "another"))
	s := startRun(t, brokers, oneConsumer)
	defer s.stop()
	select {
	case code := <-s.code:
		if code != exitFailed || !strings.Contains(s.stderr.text(), "layby: start consumer orders: source topic order-events does not exist") {
			t.Errorf("exit code %d:\n%s", code, s.stderr.text())
		}
	case <-time.After(30 * time.Second):
		t.Error("it goes on trying")
	}
}

// TestAConsumerThatCannotStartLeavesTheOtherAlone has the topics of one of two consumers grow apart before the start.
func TestAConsumerThatCannotStartLeavesTheOtherAlone(t *testing.T) {
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "order-events", "left"), kfake.SeedTopics(2, "right"))
	s := startRun(t, brokers, oneConsumer+"  - {group: pairs, topics: [left, right], heartbeat: 100ms, routes: [{type: '*', handler: picking}]}\n")
	s.ready(http.StatusServiceUnavailable, "[+]consumer orders ok\n[-]consumer pairs: start consumer pairs: source topics of one consumer have equal partition counts")
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).UpdatePartitions(t.Context(), 3, "right"); err != nil {
		t.Fatal(err)
	}
	s.ready(http.StatusOK, "[+]consumer pairs ok")
	s.end()
}

// TestReadinessFollowsKafka stops the brokers under a process that runs.
func TestReadinessFollowsKafka(t *testing.T) {
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "order-events"))
	s := startRun(t, brokers, oneConsumer)
	s.ready(http.StatusOK, "[+]kafka ok")
	brokers.Close()
	s.ready(http.StatusServiceUnavailable, "[-]kafka: ")
	s.stop()
	<-s.code
}
