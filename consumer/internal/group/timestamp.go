package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Timestamp is when a record says that it was made, in milliseconds as Kafka has them. The client counts nanoseconds, which
// overflow before the year 1678 and after 2262: it hands out milliseconds times 2^6 times 15625 modulo 2^64. All but the
// upper six bits of the milliseconds come back by the inverse, which is enough for millions of years.
func Timestamp(rec *kgo.Record) time.Time {
	const inverse, lost = 0x790fb65668c26139, 6
	ns := uint64(rec.Timestamp.UnixNano())                       //nolint:gosec // bits
	return time.UnixMilli(int64(ns>>lost*inverse<<lost) >> lost) //nolint:gosec // bits
}
