// Command orders is an order platform's consumer, with all of Layby's commands: it prices orders that were picked, takes their
// payments, and publishes what happens in between. Its environment says where things are:
//
//	SHOP_POSTGRES   URL of the database with the handlers' tables; the schema of its search_path must exist
//	CATALOGUE_URL   where products are asked for; http://catalogue:8080
//	PAYMENTS_URL    where payments are taken; http://payments:8080
//	KAFKA_BROKERS   to publish to, with commas between them; localhost:9092
//
// and layby.yaml, beside this file, what is consumed. `orders shop-tables` creates the handlers' tables.
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/cli"
	"github.com/layby-go/layby/handlers/payment"
	"github.com/layby-go/layby/handlers/picking"
)

func main() {
	s, err := open(context.Background())
	if err == nil && len(os.Args) == 2 && os.Args[1] == "shop-tables" {
		err = s.migrate(context.Background())
		if err == nil {
			return
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		os.Exit(2)
	}
	cli.Main(cli.Handlers{"picking": s.picking, "payment": s.payment}, cli.Beside(s.outbox.Run))
}

// shop is what the handlers and the outbox work with.
type shop struct {
	pool    *pgxpool.Pool
	picking *picking.Handler
	payment *payment.Handler
	outbox  *picking.Outbox
}

func setting(name, otherwise string) string { return cmp.Or(os.Getenv(name), otherwise) }

// open makes the handlers. It reaches for nothing yet.
func open(ctx context.Context) (s shop, err error) {
	if s.pool, err = pgxpool.New(ctx, os.Getenv("SHOP_POSTGRES")); err != nil {
		return s, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(setting("KAFKA_BROKERS", "localhost:9092"), ",")...))
	if err != nil {
		return s, err
	}
	if s.picking, err = picking.New(picking.Config{CatalogueURL: setting("CATALOGUE_URL", "http://catalogue:8080")}, s.pool); err != nil {
		return s, err
	}
	if s.payment, err = payment.New(s.pool, payment.Config{URL: setting("PAYMENTS_URL", "http://payments:8080")}); err != nil {
		return s, err
	}
	topics := picking.OutboxConfig{PaymentTopic: "payment-requests", InconsistencyTopic: "catalogue-inconsistencies"}
	s.outbox, err = picking.NewOutbox(topics, s.pool, client, s.picking.Committed())
	return s, err
}

func (s shop) migrate(ctx context.Context) error {
	if err := picking.Migrate(ctx, s.pool); err != nil {
		return err
	}
	return payment.Migrate(ctx, s.pool)
}
