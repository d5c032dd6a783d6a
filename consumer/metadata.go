package consumer

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/layby-go/layby/ordering"
)

// metadataFormat is the first word of our commit metadata: a name and the format's version.
const metadataFormat = "layby/1"

// maxMetadata is what brokers take by default (offset.metadata.max.bytes).
const maxMetadata = 4096

// commitMetadata rides with a committed offset.
type commitMetadata struct {
	version int64            // of the lane row when it was committed (R10)
	done    []ordering.Range // finished offsets above the commit, left by a clean handover
}

// CommitMetadata is what rides with an offset that is committed in place of a consumer, for a lane row of that version.
func CommitMetadata(version int64) string {
	text, _ := commitMetadata{version: version}.encode(0)
	return text
}

// encode writes the metadata. Ranges that don't fit are left out, and reported by false.
func (m commitMetadata) encode(commit int64) (string, bool) {
	head := metadataFormat + " " + strconv.FormatInt(m.version, 10)
	if len(m.done) == 0 {
		return head, true
	}
	text := head + " " + base64.RawURLEncoding.EncodeToString(encodeRanges(m.done, commit))
	if len(text) > maxMetadata {
		return head, false
	}
	return text, true
}

// parseMetadata reads what a commit carried. Metadata of another writer is no error: it says nothing.
func parseMetadata(text string, commit int64) (m commitMetadata, ours bool, err error) {
	words := strings.Fields(text)
	if len(words) == 0 || !strings.HasPrefix(words[0], "layby/") {
		return m, false, nil
	}
	if words[0] != metadataFormat {
		return m, true, fmt.Errorf("commit metadata has the format %s, this program reads %s: a newer version of Layby wrote it", words[0], metadataFormat)
	}
	if len(words) < 2 {
		return m, true, fmt.Errorf("commit metadata %q is cut", text)
	}
	if m.version, err = strconv.ParseInt(words[1], 10, 64); err != nil {
		return m, true, fmt.Errorf("commit metadata %q: %w", text, err)
	}
	if len(words) > 2 {
		raw, err := base64.RawURLEncoding.DecodeString(words[2])
		if err != nil {
			return m, true, fmt.Errorf("commit metadata %q: %w", text, err)
		}
		if m.done, err = decodeRanges(raw, commit); err != nil {
			return m, true, fmt.Errorf("commit metadata %q: %w", text, err)
		}
	}
	return m, true, nil
}

// encodeRanges writes ranges as pairs of varints: the gap from the last end, then the length.
func encodeRanges(ranges []ordering.Range, base int64) []byte {
	var out []byte
	for _, r := range ranges {
		out = binary.AppendUvarint(out, uint64(r.From-base)) //nolint:gosec // ranges lie above the commit, in order
		out = binary.AppendUvarint(out, uint64(r.To-r.From)) //nolint:gosec // To is not below From
		base = r.To
	}
	return out
}

func decodeRanges(raw []byte, base int64) ([]ordering.Range, error) {
	var out []ordering.Range
	for len(raw) > 0 {
		gap, n := binary.Uvarint(raw)
		if n <= 0 {
			return nil, fmt.Errorf("ranges are cut")
		}
		length, k := binary.Uvarint(raw[n:])
		if k <= 0 || gap > 1<<62 || length > 1<<62 {
			return nil, fmt.Errorf("ranges are cut")
		}
		raw = raw[n+k:]
		r := ordering.Range{From: base + int64(gap)}
		r.To = r.From + int64(length)
		if r.From < base || r.To < r.From {
			return nil, fmt.Errorf("ranges overflow")
		}
		out, base = append(out, r), r.To
	}
	return out, nil
}
