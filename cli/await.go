package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/parking"
)

// The servers that a process stands on, as probes and logs call them.
const (
	postgres = "postgres"
	kafka    = "kafka"
)

const (
	firstWait   = 500 * time.Millisecond
	longestWait = 10 * time.Second
	askTimeout  = 10 * time.Second
)

// await waits until Postgres and Kafka answer, in the order of what a person would look at first. What waiting can't
// heal it returns at once.
func (p *process) await(ctx context.Context, opts []kgo.Opt, hooks *webhooks) error {
	if err := p.answers(ctx, postgres, p.store.Check); err != nil {
		return err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	defer client.Close()
	return p.answers(ctx, kafka, func(ctx context.Context) error {
		md, err := kadm.NewClient(client).BrokerMetadata(ctx)
		if err == nil {
			hooks.clusterID.Store(&md.Cluster)
		}
		return err
	})
}

// answers asks a server until it answers without an error.
func (p *process) answers(ctx context.Context, server string, ask func(context.Context) error) error {
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		asking, cancel := context.WithTimeout(ctx, askTimeout)
		err := ask(asking)
		cancel()
		p.setAway(server, err)
		if err == nil {
			return nil
		}
		if needsPerson(err) {
			return fmt.Errorf("%s: %w", server, err)
		}
		again := jitter(wait)
		p.log.LogAttrs(ctx, slog.LevelWarn, "waiting for "+server, slog.String("error", oneLine(err)), slog.Duration("again_in", again))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(again):
		}
	}
}

// jitter takes up to half off a wait, so that processes that were started together do not ask together.
func jitter(wait time.Duration) time.Duration { return wait - rand.N(wait/2) } //nolint:gosec // spreads load, keeps no secret

// needsPerson says that waiting can't heal an error: the schema, the login, the certificate, the database, the rights.
func needsPerson(err error) bool {
	if errors.Is(err, migrations.ErrOldSchema) || errors.Is(err, migrations.ErrNewSchema) || errors.Is(err, parking.ErrRights) {
		return true
	}
	for _, refusal := range []error{kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.ClusterAuthorizationFailed} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var plain tls.RecordHeaderError
	if errors.As(err, &certificate) || errors.As(err, &authority) || errors.As(err, &plain) {
		return true
	}
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return false
	}
	const invalidAuthorization, noDatabase, noRights = "28", "3D000", "42501"
	return strings.HasPrefix(refused.Code, invalidAuthorization) || refused.Code == noDatabase || refused.Code == noRights
}

// healsByItself says that an error at the start of a consumer comes from a server that is away for a moment: it restarts,
// fails over, or has no leader yet.
func healsByItself(err error) bool {
	var network net.Error
	var connect *pgconn.ConnectError
	if needsPerson(err) {
		return false
	}
	if errors.As(err, &network) || errors.As(err, &connect) || kgo.IsRetryableBrokerErr(err) || kerr.IsRetriable(err) ||
		pgconn.SafeToRetry(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return false
	}
	const connection, resources, intervention, readOnly = "08", "53", "57", "25006"
	return slices.Contains([]string{connection, resources, intervention}, refused.Code[:min(2, len(refused.Code))]) || refused.Code == readOnly
}

// oneLine is the text of an error that may have several lines, some of them twice.
func oneLine(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}
