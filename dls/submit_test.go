package dls

import "testing"

// The values are those of Kafka's own test of its partitioner.
func TestSubmitHashesKeysAsKafkaDoes(t *testing.T) {
	s := newStore(t)
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := rows[int64](t, s, "select {{schema}}.murmur2($1)", []byte(key)); got[0] != int64(uint32(want)) { //nolint:gosec // the same bits
			t.Errorf("%s: %d, want %d", key, got[0], uint32(want)) //nolint:gosec // likewise
		}
	}
}
