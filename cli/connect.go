package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/parking"
)

const dialTimeout = 10 * time.Second

// kafkaOptions says to a Kafka client how to reach the brokers. Certificates and passwords in files are read again at
// each new connection, so that they can be replaced while the process runs.
func kafkaOptions(cfg config.Kafka) ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.ClientID("layby"), kgo.SeedBrokers(cfg.Brokers...)}
	dial := &net.Dialer{Timeout: dialTimeout}
	if cfg.TLS == nil {
		opts = append(opts, kgo.Dialer(dial.DialContext))
	} else {
		if _, err := tlsConfig(cfg.TLS); err != nil { // tell at once what would fail at each connection
			return nil, err
		}
		opts = append(opts, kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := tlsConfig(cfg.TLS)
			if err != nil {
				return nil, err
			}
			return (&tls.Dialer{NetDialer: dial, Config: c}).DialContext(ctx, network, address)
		}))
	}
	if cfg.SASL != nil {
		opts = append(opts, kgo.SASL(saslMechanism(*cfg.SASL)))
	}
	return opts, nil
}

func tlsConfig(cfg *config.TLS) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cfg.ServerName}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka.tls.ca_file: %s holds no certificate in PEM form", cfg.CAFile)
		}
	}
	if cfg.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.cert_file and key_file: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

// saslMechanism logs in with the password that counts at that moment.
func saslMechanism(cfg config.SASL) sasl.Mechanism {
	scramAuth := func(context.Context) (scram.Auth, error) {
		password, err := cfg.ReadPassword()
		return scram.Auth{User: cfg.User, Pass: password}, err
	}
	switch cfg.Mechanism {
	case "SCRAM-SHA-256":
		return scram.Sha256(scramAuth)
	case "SCRAM-SHA-512":
		return scram.Sha512(scramAuth)
	default:
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := cfg.ReadPassword()
			return plain.Auth{User: cfg.User, Pass: password}, err
		})
	}
}

// openPostgres makes a pool, which connects when it is used. A url_file is read again at each new connection for its
// user and password.
func openPostgres(ctx context.Context, cfg config.Postgres) (*pgxpool.Pool, error) {
	url, err := cfg.ReadURL()
	if err != nil {
		return nil, usage(err)
	}
	c, err := parking.PoolConfig(url, int32(cfg.MaxConnections)) //nolint:gosec // small
	if err != nil {
		return nil, usage(err)
	}
	if c.ConnConfig.RuntimeParams["application_name"] == "" {
		c.ConnConfig.RuntimeParams["application_name"] = "layby"
	}
	if cfg.URLFile != "" {
		c.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error {
			url, err := cfg.ReadURL()
			if err != nil {
				return err
			}
			now, err := pgx.ParseConfig(url)
			if err != nil {
				return err
			}
			conn.User, conn.Password = now.User, now.Password
			return nil
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return pool, nil
}

// withPostgres runs a command's code with a pool.
func (a *app) withPostgres(ctx context.Context, f func(cfg *config.Config, pool *pgxpool.Pool) error) error {
	cfg, _, err := a.load()
	if err != nil {
		return err
	}
	pool, err := openPostgres(ctx, cfg.Postgres)
	if err != nil {
		return err
	}
	defer pool.Close()
	return f(cfg, pool)
}
