package parking

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/migrations"
)

// silence is how long a listening connection may say nothing before it is asked whether it lives.
const silence = 30 * time.Second

// Listen calls found for every lane that a new command is announced for, until ctx ends; then it returns nil. It holds
// one connection of its own. After each time that it had to connect, found is called with an empty consumer: commands
// of any lane may have been missed. Announcements don't reach through a pooler in transaction mode, so who
// listens asks from time to time as well.
func (s *Store) Listen(ctx context.Context, found func(consumer string, partition int32)) error {
	o := &outage{store: s, what: "listen for commands"}
	for {
		err := s.listen(ctx, o, found)
		if ctx.Err() != nil {
			return nil
		}
		if o.failed(ctx, err) != nil {
			return nil
		}
	}
}

func (s *Store) listen(ctx context.Context, o *outage, found func(string, int32)) (err error) {
	conn, err := s.connect(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if _, err := conn.Exec(ctx, "listen "+migrations.Channel(s.schema)); err != nil {
		return err
	}
	o.over(ctx)
	found("", -1)
	for {
		n, err := s.notification(ctx, conn)
		if err != nil {
			return err
		}
		i := strings.LastIndexByte(n, '/')
		if i < 0 {
			continue
		}
		if p, err := strconv.ParseInt(n[i+1:], 10, 32); err == nil {
			found(n[:i], int32(p))
		}
	}
}

func (s *Store) connect(ctx context.Context, o *outage) (*pgx.Conn, error) {
	ctx, cancel := o.timeout(ctx)
	defer cancel()
	return pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig.Copy())
}

// notification waits for the next payload; an empty one says that the connection lives.
func (s *Store) notification(ctx context.Context, conn *pgx.Conn) (string, error) {
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
