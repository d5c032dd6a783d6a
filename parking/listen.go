package parking

import (
	"context"
	"strconv"
	"strings"
)

// Listen calls found for every lane that a new command is announced for, until ctx ends; then it returns nil. It holds
// one connection of its own. After each time that it had to connect, found is called with an empty consumer: commands
// of any lane may have been missed. Announcements don't reach through a pooler in transaction mode, so who
// listens asks from time to time as well.
func (s *Store) Listen(ctx context.Context, found func(consumer string, partition int32)) error {
	o := &outage{store: s, what: "listen for commands"}
	for {
		err := s.db.Listen(ctx, func() {
			o.over(ctx)
			found("", -1)
		}, func(announcement string) { announced(announcement, found) })
		if ctx.Err() != nil {
			return nil
		}
		if o.failed(ctx, err) != nil {
			return nil
		}
	}
}

// announced reads consumer/partition.
func announced(text string, found func(string, int32)) {
	i := strings.LastIndexByte(text, '/')
	if i < 0 {
		return
	}
	if p, err := strconv.ParseInt(text[i+1:], 10, 32); err == nil {
		found(text[:i], int32(p))
	}
}
