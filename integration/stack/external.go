package stack

import (
	"context"
	"fmt"

	"github.com/layby-go/layby/integration/stack/pgproc"
)

// externalKafka is what LAYBY_KAFKA names: it can be used and nothing else.
type externalKafka []string

func (k externalKafka) no(what string) error {
	return fmt.Errorf("%s a broker: Kafka is the one that %s names, which the tests do not control; unset it to run this test", what, envKafka)
}

func (k externalKafka) Addresses() []string                     { return k }
func (k externalKafka) StartBroker(context.Context, int) error  { return k.no("start") }
func (k externalKafka) StopBroker(context.Context, int) error   { return k.no("stop") }
func (k externalKafka) KillBroker(context.Context, int) error   { return k.no("kill") }
func (k externalKafka) FreezeBroker(context.Context, int) error { return k.no("freeze") }
func (k externalKafka) ThawBroker(context.Context, int) error   { return k.no("thaw") }
func (k externalKafka) Failed() error                           { return nil }
func (k externalKafka) Log() string                             { return "" }
func (k externalKafka) Close() error                            { return nil }

// externalPostgres is the URL in LAYBY_POSTGRES.
type externalPostgres string

func (p externalPostgres) no(what string) error {
	return fmt.Errorf("%s Postgres: it is the one that %s names, which the tests do not control; unset it to run this test", what, envPostgres)
}

func (p externalPostgres) URL() string                                 { return string(p) }
func (p externalPostgres) Start(context.Context) error                 { return p.no("start") }
func (p externalPostgres) Stop(context.Context, pgproc.Shutdown) error { return p.no("stop") }
func (p externalPostgres) Freeze(context.Context) error                { return p.no("freeze") }
func (p externalPostgres) Thaw(context.Context) error                  { return p.no("thaw") }
func (p externalPostgres) Close() error                                { return nil }
