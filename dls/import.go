package dls

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/layby-go/layby/internal/columns"
)

const (
	importBatch = 200
	importBytes = 4 << 20   // of lines in one transaction, or one line
	longestLine = 256 << 20 // more than the largest record that brokers take, in base64
)

// Import says how an export is taken in, by whom and why.
type Import struct {
	Consumer string // the consumer of all letters here; empty for that of each line
	Actor    string // the person, for the audit log
	Reason   string
	Dry      bool // only check and count
	From     int  // the first line, from 1; 0 for all
}

// Imported is what became of an export's lines.
type Imported struct {
	Lines   int // that were looked at
	Letters int // that came
	Present int // that were here already, and stay as they are
	Through int // the line up to which all is in
}

// LineError says what is wrong with a line. Nothing of its batch came in.
type LineError struct {
	Line, To int // one line, or those from Line to To
	Err      error
	Refused  bool // for what is here, not for what it is
}

// Error names the line.
func (e *LineError) Error() string {
	if e.To > e.Line {
		return fmt.Sprintf("lines %d to %d: %v", e.Line, e.To, e.Err)
	}
	return fmt.Sprintf("line %d: %v", e.Line, e.Err)
}

// Unwrap returns what is wrong.
func (e *LineError) Unwrap() error { return e.Err }

// Import takes in the lines of an export. Each batch comes in whole or not at all, and a letter that is here already, from the same
// source position, is left alone, so that an import can be repeated. Letters that are open hold nothing here: a replay puts them behind
// what their resource has waiting. A line that can't come in is a *LineError; the answer says how far it came.
func (s *Store) Import(ctx context.Context, from io.Reader, o Import, progress func(Imported)) (done Imported, err error) {
	in := &lineReader{r: bufio.NewReaderSize(from, 1<<16)}
	b := batch{}
	for {
		text, err := in.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return done, err
		}
		if len(b.rows) > 0 && (err != nil || len(b.rows) == importBatch || b.bytes+len(text) > importBytes) {
			if err := s.importBatch(ctx, &o, &b, &done); err != nil {
				return done, err
			}
			b = batch{}
			progress(done)
		}
		if err != nil {
			return done, nil //nolint:nilerr // it is the end
		}
		if in.line < o.From || len(bytes.TrimSpace(text)) == 0 {
			done.Through = max(done.Through, min(in.line, o.From-1))
			continue
		}
		l, err := parseLine(text)
		if err != nil {
			return done, &LineError{Line: in.line, Err: err}
		}
		if o.Consumer != "" {
			l.Consumer = columns.Text(o.Consumer, 0)
		}
		b.rows, b.lines, b.bytes = append(b.rows, l.row()), append(b.lines, in.line), b.bytes+len(text)
	}
}

// batch are letters that come in together.
type batch struct {
	rows  []*importRow
	lines []int
	bytes int
}

var errDry = errors.New("nothing is changed")

func (s *Store) importBatch(ctx context.Context, o *Import, b *batch, done *Imported) error {
	text, err := marshal(b.rows)
	if err != nil {
		return err
	}
	first, last := b.lines[0], b.lines[len(b.lines)-1]
	came := 0
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select set_config('layby.actor', $1, true)", columns.Text(o.Actor, 0)); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "select place, refused from "+s.schema+".import_letters($1::text::jsonb, $2)", string(text), columns.Text(o.Reason, 0))
		if err != nil {
			return err
		}
		var place int
		var refused *string
		_, err = pgx.ForEachRow(rows, []any{&place, &refused}, func() error {
			if refused != nil {
				return &LineError{Line: b.lines[place-1], Err: errors.New(*refused), Refused: true}
			}
			came++
			return nil
		})
		if err == nil && o.Dry {
			err = errDry
		}
		return err
	})
	var line *LineError
	var pg *pgconn.PgError
	switch {
	case err == nil, errors.Is(err, errDry):
	case errors.As(err, &line):
		return line
	case errors.As(err, &pg) && pg.Code[:2] == "22": // for its content
		return &LineError{Line: first, To: last, Err: err}
	default:
		return fmt.Errorf("import lines %d to %d: %w", first, last, err)
	}
	done.Lines += len(b.rows)
	done.Letters += came
	done.Present += len(b.rows) - came
	done.Through = last
	return nil
}

// lineReader reads lines of any length up to longestLine.
type lineReader struct {
	r    *bufio.Reader
	line int // that was read last, from 1
	buf  []byte
}

// next returns a line without its end, which is valid until the next call, or io.EOF.
func (l *lineReader) next() ([]byte, error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		l.buf = append(l.buf, part...)
		switch {
		case len(l.buf) > longestLine:
			return nil, &LineError{Line: l.line + 1, Err: fmt.Errorf("it is longer than %d MiB", longestLine>>20)}
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(l.buf) == 0:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("read line %d: %w", l.line+1, err)
		}
		l.line++
		return bytes.TrimSuffix(l.buf, []byte("\n")), nil
	}
}
