package consumer

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/layby-go/layby"
)

// TestG3WhatSucceededBeforeAPartitionWasLostIsRecorded takes a partition away right after a parked event succeeded, while
// the one behind it runs, before its success had to be written.
func TestG3WhatSucceededBeforeAPartitionWasLostIsRecorded(t *testing.T) {
	behind := make(chan int32, 1)
	r := newRig(t, "1s", func(ctx context.Context, e *layby.Event) error {
		switch {
		case e.Offset > 0:
			behind <- e.Partition
			<-ctx.Done()
			return ctx.Err()
		case e.Attempt == 1:
			return errors.New("not now")
		}
		return nil
	})
	r.produce("order-1")
	r.produce("order-1")
	r.run()
	rows := func() (offsets string, err error) {
		err = r.pool.QueryRow(t.Context(), "select coalesce(string_agg(source_offset::text, ' ' order by seq), '') from "+r.schema+".parked_events").Scan(&offsets)
		return offsets, err
	}
	r.eventually("both are parked", func() (bool, string) {
		offsets, err := rows()
		return offsets == "0 1", fmt.Sprint(offsets, err)
	})
	r.c.lost([]int32{<-behind})
	if offsets, err := rows(); offsets != "1" || err != nil {
		t.Errorf("after the loss the events %q are parked: %v", offsets, err)
	}
}
