package verify

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Position is where an event lies in its source topic.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String is topic/partition@offset.
func (p Position) String() string { return fmt.Sprintf("%s/%d@%d", p.Topic, p.Partition, p.Offset) }

// MarshalText writes a position as String does.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (p *Position) UnmarshalText(text []byte) error {
	s := string(text)
	at, slash := strings.LastIndexByte(s, '@'), strings.LastIndexByte(s, '/')
	if slash < 0 || at < slash {
		return fmt.Errorf("%q is no position: write topic/partition@offset", s)
	}
	partition, err := strconv.ParseInt(s[slash+1:at], 10, 32)
	if err != nil {
		return fmt.Errorf("the partition of %q: %w", s, err)
	}
	offset, err := strconv.ParseInt(s[at+1:], 10, 64)
	if err != nil {
		return fmt.Errorf("the offset of %q: %w", s, err)
	}
	*p = Position{Topic: s[:slash], Partition: int32(partition), Offset: offset}
	return nil
}

func compare(a, b Position) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}
