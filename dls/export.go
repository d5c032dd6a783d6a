package dls

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/migrations"
)

const (
	exportPage  = 500
	exportBytes = 8 << 20 // of values that are in memory at once, or one letter
	exportLook  = 100_000
)

// Export writes the letters that a filter selects, those that failed last first, as lines of JSON without their ends. It reads them
// page by page and holds no transaction while it writes; letters that come, die again or go meanwhile may be missing.
func (s *Store) Export(ctx context.Context, f Filter, write func(line []byte) error) error {
	for page := (Page{Limit: exportPage, Look: exportLook}); ; {
		found, err := s.List(ctx, f, page)
		if err != nil {
			return err
		}
		ids := make([]int64, len(found.Letters))
		for i := range found.Letters {
			ids[i] = found.Letters[i].ID
		}
		if err := s.exportAll(ctx, ids, write); err != nil {
			return fmt.Errorf("export dead letters: %w", err)
		}
		if found.Next == (Cursor{}) {
			return nil
		}
		page.After = found.Next
	}
}

// exportAll writes letters in parts that are not too large.
func (s *Store) exportAll(ctx context.Context, ids []int64, write func([]byte) error) error {
	sizes := map[int64]int64{}
	rows, err := s.pool.Query(ctx, `select d.id, coalesce(octet_length(d.value), 0) + coalesce((
			select sum(octet_length(v.value)) from `+s.schema+`.dead_letter_versions v where v.letter_id = d.id), 0)
		from `+s.schema+`.dead_letters d where d.id = any($1)`, ids)
	if err != nil {
		return err
	}
	var id, size int64
	if _, err = pgx.ForEachRow(rows, []any{&id, &size}, func() error { sizes[id] = size; return nil }); err != nil {
		return err
	}
	for len(ids) > 0 {
		n, bytes := 1, sizes[ids[0]]
		for ; n < len(ids) && bytes+sizes[ids[n]] <= exportBytes; n++ {
			bytes += sizes[ids[n]]
		}
		list, err := s.lines(ctx, ids[:n])
		if err != nil {
			return err
		}
		for _, id := range ids[:n] {
			l := list[id]
			if l == nil {
				continue // it is gone
			}
			text, err := marshal(l)
			if err != nil {
				return fmt.Errorf("dead letter %d: %w", id, err)
			}
			if err := write(text); err != nil {
				return err
			}
		}
		ids = ids[n:]
	}
	return nil
}

// lines reads letters with all that hangs on them, in one round trip and one snapshot.
func (s *Store) lines(ctx context.Context, ids []int64) (map[int64]*line, error) {
	list := make(map[int64]*line, len(ids))
	err := s.readOnly(ctx, "begin isolation level repeatable read read only; set local jit = off", func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		queue := func(sql string, row func(pgx.Rows) error) {
			batch.Queue(migrations.Render(sql, s.schema), ids).Query(func(rows pgx.Rows) error {
				for rows.Next() {
					if err := row(rows); err != nil {
						return err
					}
				}
				return rows.Err()
			})
		}
		queue(exportLetters, func(rows pgx.Rows) error { return addLine(rows, list) })
		queue(exportAttempts, func(rows pgx.Rows) error {
			var id int64
			var a lineAttempt
			var took time.Duration
			err := rows.Scan(&id, &a.Attempt, &a.Started, &took, &a.Tier, &a.Class, &a.Text, &a.Stack, &a.Instance)
			a.TookUs, a.Started = took.Microseconds(), a.Started.UTC()
			list[id].Attempts = append(list[id].Attempts, a)
			return err
		})
		queue(exportVersions, func(rows pgx.Rows) error {
			var id int64
			var v lineVersion
			var headers []byte
			err := rows.Scan(&id, &v.Version, (*[]byte)(&v.Key), (*[]byte)(&v.Value), &headers, &v.Timestamp, &v.Who, &v.Actor, &v.Reason, &v.Made)
			if err == nil {
				v.Headers, err = lineHeaders(headers)
			}
			v.Made = v.Made.UTC()
			list[id].Versions = append(list[id].Versions, v)
			return err
		})
		queue(exportDeaths, func(rows pgx.Rows) error {
			var id int64
			var d earlierDeath
			err := rows.Scan(&id, &d.Death, &d.Died, &d.Class, &d.Text, &d.Instance)
			d.Died = d.Died.UTC()
			list[id].Earlier = append(list[id].Earlier, d)
			return err
		})
		return tx.SendBatch(ctx, batch).Close()
	})
	return list, err
}

const (
	exportLetters = `select id, consumer, partition, seq, resource, topic, topic_id::text, source_offset, leader_epoch, event_type, state, policy, attempt, deaths,
	version, error_class, error_text, error_chain, error_details, stack, fingerprint, instance, first_failed_at, failed_at, settled_at, erased_at, has_bytes,
	key, value, headers_raw, timestamp_ms from {{schema}}.dead_letters where id = any($1)`
	exportAttempts = `select letter_id, attempt, started_at, took, tier, error_class, error_text, stack, instance
	from {{schema}}.dead_letter_attempts where letter_id = any($1) order by letter_id, id`
	exportVersions = `select letter_id, version, key, value, headers_raw, timestamp_ms, who, actor, reason, made_at
	from {{schema}}.dead_letter_versions where letter_id = any($1) order by letter_id, version`
	exportDeaths = `select letter_id, death, died_at, error_class, error_text, instance
	from {{schema}}.dead_letter_deaths where letter_id = any($1) order by letter_id, death`
)

func addLine(rows pgx.Rows, list map[int64]*line) error {
	l := &line{Format: lineFormat, Attempts: []lineAttempt{}, Versions: []lineVersion{}, Earlier: []earlierDeath{}}
	var headers []byte
	err := rows.Scan(&l.ID, &l.Consumer, &l.Partition, &l.Seq, (*[]byte)(&l.Resource), &l.Topic, &l.TopicID, &l.Offset, &l.LeaderEpoch, &l.Type, &l.State,
		&l.Policy, &l.Attempt, &l.Deaths, &l.Version, &l.Class, &l.Text, &l.Chain, &l.Details, &l.Stack, &l.Fingerprint, &l.Instance, &l.FirstFailed,
		&l.Failed, &l.Settled, &l.Erased, &l.HasBytes, (*[]byte)(&l.Key), (*[]byte)(&l.Value), &headers, &l.Timestamp)
	if err != nil {
		return err
	}
	for _, at := range []*time.Time{&l.FirstFailed, &l.Failed, l.Settled, l.Erased} {
		if at != nil {
			*at = at.UTC()
		}
	}
	l.Headers, err = lineHeaders(headers)
	list[l.ID] = l
	return err
}
