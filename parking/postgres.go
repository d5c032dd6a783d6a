package parking

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/internal/columns"
	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/ordering"
)

// postgres is the Database of a schema.
type postgres struct {
	pool    *pgxpool.Pool
	schema  string
	sql     *queries
	letters *dls.Store
}

func newPostgres(pool *pgxpool.Pool, schema string) (*postgres, error) {
	letters, err := dls.New(pool, schema)
	if err != nil {
		return nil, err
	}
	sql, err := newQueries(schema)
	if err != nil {
		return nil, err
	}
	return &postgres{pool: pool, schema: schema, sql: sql, letters: letters}, nil
}

func (p *postgres) Check(ctx context.Context) error {
	if err := migrations.Check(ctx, p.pool, p.schema); err != nil {
		return err
	}
	var user string
	var may bool
	if err := p.pool.QueryRow(ctx, p.sql.rights, p.schema).Scan(&user, &may); err != nil {
		return fmt.Errorf("look up the rights in schema %s: %w", p.schema, err)
	}
	if !may {
		return fmt.Errorf("%w: user %s lacks what a consumer needs in schema %s: grant %s_app to %s", ErrRights, user, p.schema, p.schema, user)
	}
	return nil
}

func (p *postgres) Reset() { p.pool.Reset() }

func (p *postgres) Now(ctx context.Context) (now time.Time, err error) {
	err = p.pool.QueryRow(ctx, "select clock_timestamp()").Scan(&now)
	return now, err
}

func (p *postgres) WaitingIn(ctx context.Context, consumer, tier string) (n int, err error) {
	err = p.pool.QueryRow(ctx, p.sql.waiting, consumer, tier).Scan(&n)
	return n, err
}

func (p *postgres) Lanes(ctx context.Context, consumer string) ([]LaneRow, error) {
	rows, err := p.pool.Query(ctx, p.sql.lanes, consumer)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (LaneRow, error) {
		l := LaneRow{Place: Place{Consumer: consumer}}
		var sources, tiers []byte
		var g growth
		err := row.Scan(&l.Partition, &l.ClusterID, &l.LaneID, &l.Epoch, &l.Owner, &l.Version, &l.Seq, &sources, &tiers, &l.PartitionCount,
			&g.cut, &g.From, &g.at, &g.Topics)
		if err != nil {
			return l, err
		}
		if l.Growth, err = g.read(); err != nil {
			return l, err
		}
		l.Sources, l.Tiers, err = places(sources, tiers)
		return l, err
	})
}

func (p *postgres) Pauses(ctx context.Context, consumer string) ([]Pause, error) {
	rows, err := p.pool.Query(ctx, p.sql.pauses, consumer)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (out Pause, err error) {
		var until *time.Time
		if err = row.Scan(&out.Route, &out.Reason, &out.Who, &out.Since, &until); err == nil && until != nil {
			out.Until = *until
		}
		return out, err
	})
}

func (p *postgres) ShowGates(ctx context.Context, consumer, instance string, closed []ClosedGate) error {
	routes, dependencies, since := make([]string, len(closed)), make([]string, len(closed)), make([]time.Time, len(closed))
	for i, g := range closed {
		routes[i], dependencies[i], since[i] = columns.Text(g.Route, columns.Indexed), columns.Text(g.Dependency, columns.Indexed), g.Since
	}
	_, err := p.pool.Exec(ctx, p.sql.gates, consumer, instance, routes, dependencies, since)
	return err
}

// places reads partitions.sources and partitions.tiers.
func places(inSources, inTiers []byte) (sources map[string]SourcePlace, tiers map[string]TierPlace, err error) {
	if err := json.Unmarshal(inSources, &sources); err != nil {
		return nil, nil, fmt.Errorf("partitions.sources: %w", err)
	}
	if err := json.Unmarshal(inTiers, &tiers); err != nil {
		return nil, nil, fmt.Errorf("partitions.tiers: %w", err)
	}
	return sources, tiers, nil
}

func (p *postgres) Rewind(ctx context.Context, r Rewind) (out Rewound, err error) {
	err = p.pool.QueryRow(ctx, p.sql.rewind, r.Consumer, r.Partition, r.Topic, r.TopicID, r.Offset, r.At.Epoch, r.At.Version, r.Owner,
		r.Reason, r.Apply).Scan(&out.Parked, &out.Replays, &out.Letters)
	return out, err
}

func (p *postgres) Resize(ctx context.Context, consumer string, partitions int, topics []string) (left InTheWay, err error) {
	err = p.pool.QueryRow(ctx, p.sql.resize, consumer, partitions, topics).Scan(&left.Partitions, &left.Resources)
	return left, err
}

// growth scans what a lane's row keeps of topics that grew.
type growth struct {
	Growth

	cut []byte
	at  *time.Time
}

func (g *growth) read() (Growth, error) {
	if g.at != nil {
		g.At = *g.at
	}
	if g.cut == nil {
		return g.Growth, nil
	}
	if err := json.Unmarshal(g.cut, &g.Cut); err != nil {
		return g.Growth, fmt.Errorf("partitions.cut: %w", err)
	}
	return g.Growth, nil
}

func (p *postgres) SetCut(ctx context.Context, at Place, by Owned, cut map[string]SourcePlace) (mine bool, err error) {
	text, err := document(cut)
	if err != nil {
		return false, err
	}
	err = p.pool.QueryRow(ctx, p.sql.setCut, at.Consumer, at.Partition, by.Epoch, by.Owner, text).Scan(&mine)
	return mine, err
}

func (p *postgres) Elsewhere(ctx context.Context, at Place, before time.Time) (map[string]int32, error) {
	rows, err := p.pool.Query(ctx, p.sql.elsewhere, at.Consumer, at.Partition, before)
	if err != nil {
		return nil, err
	}
	list := map[string]int32{}
	var resource []byte
	var partition int32
	_, err = pgx.ForEachRow(rows, []any{&resource, &partition}, func() error {
		list[string(resource)] = partition
		return nil
	})
	return list, err
}

func (p *postgres) Settled(ctx context.Context, consumer string, in map[string]int32) ([]string, error) {
	resources, partitions := make([][]byte, 0, len(in)), make([]int32, 0, len(in))
	for id, partition := range in {
		resources, partitions = append(resources, []byte(id)), append(partitions, partition)
	}
	rows, err := p.pool.Query(ctx, p.sql.settled, consumer, resources, partitions)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var id []byte
		err := row.Scan(&id)
		return string(id), err
	})
}

func (p *postgres) Take(ctx context.Context, in Take) (*Taken, error) {
	t := &Taken{Owned: Owned{Owner: in.Owner}}
	var sources, tiers, starting []byte
	var g growth
	err := p.pool.QueryRow(ctx, p.sql.acquire, in.Consumer, in.Partition, in.ClusterID, in.Owner, in.PartitionCount, in.Version,
		in.Instance).Scan(&t.LaneID, &t.Epoch, &t.Version, &t.Seq, &sources, &tiers, &t.PartitionCount, &starting,
		&t.UncleanEnds, &t.Handover, &t.ClusterID, &t.Now, &g.cut, &g.From, &g.at, &g.Topics)
	if err != nil {
		return nil, err
	}
	if t.Growth, err = g.read(); err != nil {
		return nil, err
	}
	if t.Sources, t.Tiers, err = places(sources, tiers); err != nil {
		return nil, err
	}
	t.Starting, err = decodeStarting(starting)
	return t, err
}

func (p *postgres) Recover(ctx context.Context, r Recovery) error {
	details, err := json.Marshal(r.Details)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue(p.sql.recover, r.Consumer, r.Partition, r.At.Epoch, r.At.Version, r.Known, r.Owner, r.Seq, string(details), bytesOf(r.Resources))
	if len(r.Events) > 0 {
		batch.Queue(p.sql.reserve, append([]any{r.Consumer, r.Partition}, reserveArgs(r.Events, "")...)...)
		resource, text := make([][]byte, 0, len(r.Events)), make([]*string, 0, len(r.Events))
		for _, e := range last(r.Events, func(e *ordering.Reservation) string { return e.Row.Resource }) {
			resource, text = append(resource, []byte(e.Row.Resource)), append(text, columns.Readable(e.Row.Resource))
		}
		batch.Queue(p.sql.recovered, r.Consumer, r.Partition, resource, text)
	}
	return p.pool.SendBatch(ctx, batch).Close()
}

func (p *postgres) Owner(ctx context.Context, at Place) (o Owned, err error) {
	err = p.pool.QueryRow(ctx, p.sql.owner, at.Consumer, at.Partition).Scan(&o.Epoch, &o.Owner, &o.Version)
	return o, err
}

func (p *postgres) End(ctx context.Context, e Ending) (bool, error) {
	tag, err := p.pool.Exec(ctx, p.sql.end, e.Consumer, e.Partition, e.At.Epoch, e.At.Owner, e.At.Version, e.Handover)
	return tag.RowsAffected() == 1, err
}

// Write sends a batch in one round trip: all of it is one implicit transaction.
func (p *postgres) Write(ctx context.Context, b *Batch) (executed []ordering.Execution, err error) {
	statements, err := p.statements(b)
	if err != nil {
		return nil, err
	}
	batch := &pgx.Batch{}
	for _, s := range statements {
		q := batch.Queue(s.sql, s.args...)
		if s.commands {
			q.Query(func(rows pgx.Rows) error {
				var err error
				executed, err = answers(rows)
				return err
			})
		}
	}
	if err := p.pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	return executed, nil
}

func (p *postgres) Results(ctx context.Context, ids []int64, at Owned) ([]ordering.Execution, error) {
	rows, err := p.pool.Query(ctx, p.sql.results, ids, at.Epoch, at.Version)
	if err != nil {
		return nil, err
	}
	return answers(rows)
}

func (p *postgres) Bodies(ctx context.Context, at Place, seqs []int64) (map[int64]Body, error) {
	rows, err := p.pool.Query(ctx, p.sql.loadBodies, at.Consumer, at.Partition, seqs)
	if err != nil {
		return nil, err
	}
	list := make(map[int64]Body, len(seqs))
	var seq, ms int64
	var headers, resource []byte
	var e Body
	_, err = pgx.ForEachRow(rows, []any{&seq, &e.Topic, &e.Offset, &e.Type, &resource, &e.Key, &e.Value, &headers, &ms, &e.Version}, func() error {
		var err error
		if e.Headers, err = columns.DecodeHeaders(headers); err != nil {
			return fmt.Errorf("seq %d: %w", seq, err)
		}
		e.Partition, e.Resource, e.Timestamp = at.Partition, string(resource), time.UnixMilli(ms)
		list[seq] = e
		return nil
	})
	return list, err
}

// commandKind is the kind of a name in the commands table, 0 for one that this program does not know.
func commandKind(name string) ordering.CommandKind {
	for k := ordering.Replay; k <= ordering.AmendParked; k++ {
		if k.String() == name {
			return k
		}
	}
	return 0
}

func (p *postgres) Commands(ctx context.Context, at Place, after Turn, limit int) ([]Asked, error) {
	rows, err := p.pool.Query(ctx, p.sql.commands, at.Consumer, at.Partition, after.At, after.Seq, after.ID, limit)
	if err != nil {
		return nil, err
	}
	var list []Asked
	var a Asked
	var kind string
	var resource []byte
	_, err = pgx.ForEachRow(rows, []any{&a.ID, &kind, &resource, &a.Seq, &a.Turn.At, &a.Turn.Seq}, func() error {
		a.Kind, a.Resource, a.Turn.ID = commandKind(kind), string(resource), a.ID
		list = append(list, a)
		return nil
	})
	return list, err
}

// Steer calls the function steer_operations.
func (p *postgres) Steer(ctx context.Context) (changed int, err error) {
	err = p.pool.QueryRow(ctx, p.sql.steer).Scan(&changed)
	return changed, err
}

// silence is how long a listening connection may say nothing before it is asked whether it lives.
const silence = 30 * time.Second

// Listen holds a connection of its own.
func (p *postgres) Listen(ctx context.Context, listening func(), found func(string)) (err error) {
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if _, err := conn.Exec(ctx, "listen "+migrations.Channel(p.schema)); err != nil {
		return err
	}
	listening()
	for {
		text, err := notification(ctx, conn)
		if err != nil {
			return err
		}
		if text != "" {
			found(text)
		}
	}
}

func (p *postgres) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, firstTimeout)
	defer cancel()
	return pgx.ConnectConfig(ctx, p.pool.Config().ConnConfig.Copy())
}

// notification waits for the next payload; an empty one says that the connection lives.
func notification(ctx context.Context, conn *pgx.Conn) (string, error) {
	wait, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	n, err := conn.WaitForNotification(wait)
	if err == nil {
		return n.Payload, nil
	}
	if ctx.Err() != nil || wait.Err() == nil {
		return "", err
	}
	ask, cancel := context.WithTimeout(ctx, firstTimeout)
	defer cancel()
	return "", conn.Ping(ask)
}
