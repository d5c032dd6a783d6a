package group

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestG8TimestampsBeyondWhatTheClientCountsComeBack(t *testing.T) {
	for _, at := range []time.Time{
		time.UnixMilli(0), time.UnixMilli(-1), time.UnixMilli(1_600_000_000_123), time.Date(1066, 10, 14, 9, 0, 0, 0, time.UTC),
		time.Date(2262, 4, 12, 0, 0, 0, 1e6, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
		time.UnixMilli(-1 << 57), time.UnixMilli(1<<57 - 1),
	} {
		ms := at.UnixMilli()
		rec := &kgo.Record{Timestamp: time.Unix(0, ms*1e6)} // as the client reads it
		if got := Timestamp(rec); got.UnixMilli() != ms {
			t.Errorf("%v comes back as %v", at, got)
		}
	}
}
