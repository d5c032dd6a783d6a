package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/layby-go/layby/integration/stack/internal/containers"
	"github.com/layby-go/layby/integration/stack/internal/kafkaproc"
	"github.com/layby-go/layby/integration/stack/pgproc"
)

// The environment variables that choose where the servers come from.
const (
	envKafka         = "LAYBY_KAFKA"
	envPostgres      = "LAYBY_POSTGRES"
	envStack         = "LAYBY_STACK"
	envKafkaImage    = "LAYBY_KAFKA_IMAGE"
	envPostgresImage = "LAYBY_POSTGRES_IMAGE"

	defaultKafkaImage    = "apache/kafka:" + kafkaproc.Version
	defaultPostgresImage = "postgres:18"
)

// logf gets a line for a person.
type logf func(format string, args ...any)

// Write makes a logf an io.Writer of lines.
func (l logf) Write(b []byte) (int, error) {
	l("%s", strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// use says whom a server is for: only a shared one may be what the environment names.
type use bool

const (
	shared use = true
	own    use = false
)

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// choose tries Docker, then processes, as far as LAYBY_STACK allows them.
func choose[T any](what string, log logf, docker, process func() (T, error)) (T, error) {
	var none T
	only := os.Getenv(envStack)
	if only != "" && only != "docker" && only != "process" {
		return none, fmt.Errorf("%s=%s: write docker or process, or leave it unset", envStack, only)
	}
	var whyNot error
	if only != "process" {
		v, err := docker()
		if err == nil {
			log("%s runs in Docker", what)
			return v, nil
		}
		if only == "docker" {
			return none, fmt.Errorf("start %s in Docker, as %s asks: %w", what, envStack, err)
		}
		log("%s does not run in Docker: %v", what, err)
		whyNot = fmt.Errorf("and not in Docker either: %w", err)
	}
	v, err := process()
	if err != nil {
		return none, errors.Join(fmt.Errorf("start %s as a process: %w", what, err), whyNot)
	}
	return v, nil
}

func startKafka(ctx context.Context, size int, log logf, whose use) (*Kafka, error) {
	if size == 0 {
		size = 1
	}
	if size != 1 && size != 3 {
		return nil, fmt.Errorf("a Kafka of %d brokers: it can have 1 or 3", size)
	}
	if list := os.Getenv(envKafka); list != "" && whose == shared {
		k := newKafka(externalKafka(strings.Split(list, ",")))
		if err := k.ready(ctx); err != nil {
			return nil, fmt.Errorf("use the Kafka of %s=%s: %w", envKafka, list, err)
		}
		log("Kafka is the one of %s: %s", envKafka, list)
		return k, nil
	}
	image := envOr(envKafkaImage, defaultKafkaImage)
	return choose("Kafka", log, func() (*Kafka, error) {
		return ready(ctx)(containers.StartKafka(ctx, image, size))
	}, func() (*Kafka, error) {
		k, err := ready(ctx)(kafkaproc.Start(ctx, size, log))
		if err == nil {
			log("Kafka %s runs as %d process(es), bootstrap %s", kafkaproc.Version, size, k.Addresses()[0])
		}
		return k, err
	})
}

// ready makes a Kafka of started brokers once they answer, and ends them if they don't.
func ready(ctx context.Context) func(servers brokers, err error) (*Kafka, error) {
	return func(servers brokers, err error) (*Kafka, error) {
		if err != nil {
			return nil, err
		}
		k := newKafka(servers)
		if err := k.ready(ctx); err != nil {
			return nil, errors.Join(err, servers.Close())
		}
		return k, nil
	}
}

func startPostgres(ctx context.Context, log logf, whose use) (*Postgres, error) {
	if url := os.Getenv(envPostgres); url != "" && whose == shared {
		p := &Postgres{server: externalPostgres(url)}
		if err := p.ping(ctx); err != nil {
			return nil, fmt.Errorf("use the Postgres of %s: %w", envPostgres, err)
		}
		log("Postgres is the one of %s", envPostgres)
		return p, nil
	}
	image := envOr(envPostgresImage, defaultPostgresImage)
	return choose("Postgres", log, func() (*Postgres, error) {
		s, err := containers.StartPostgres(ctx, image)
		if err != nil {
			return nil, err
		}
		return &Postgres{server: s}, nil
	}, func() (*Postgres, error) {
		s, err := pgproc.Start(ctx, pgproc.Options{Log: log})
		if err != nil {
			return nil, err
		}
		log("%s runs as a process, %s", s.Description(), s.URL())
		return &Postgres{server: s}, nil
	})
}
