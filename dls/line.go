package dls

import (
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/internal/columns"
)

// lineFormat is the version of an export's lines.
const lineFormat = 1

// line is one letter of an export: everything that its rows hold, but not what people asked for.
type line struct {
	Format      int            `json:"layby_letter"`
	ID          int64          `json:"id"` // where it was exported
	Consumer    string         `json:"consumer"`
	Partition   int32          `json:"partition"`
	Seq         int64          `json:"seq"`
	Resource    octets         `json:"resource"`
	Topic       string         `json:"topic"`
	TopicID     string         `json:"topic_id"`
	Offset      int64          `json:"offset"`
	LeaderEpoch int32          `json:"leader_epoch"`
	Type        string         `json:"type"`
	State       State          `json:"state"`
	Policy      string         `json:"policy"`
	Attempt     int32          `json:"attempt"`
	Deaths      int32          `json:"deaths"`
	Version     int32          `json:"version"`
	Class       string         `json:"error_class"`
	Text        string         `json:"error"`
	Chain       []string       `json:"error_chain"`
	Details     *string        `json:"error_details"`
	Stack       *string        `json:"stack"`
	Fingerprint string         `json:"fingerprint"`
	Instance    *string        `json:"instance"`
	FirstFailed time.Time      `json:"first_failed_at"`
	Failed      time.Time      `json:"failed_at"`
	Settled     *time.Time     `json:"settled_at"`
	Erased      *time.Time     `json:"erased_at"`
	HasBytes    bool           `json:"has_bytes"`
	Key         octets         `json:"key"`
	Value       octets         `json:"value"`
	Headers     []lineHeader   `json:"headers"`
	Timestamp   *int64         `json:"timestamp_ms"`
	Attempts    []lineAttempt  `json:"attempts"`
	Versions    []lineVersion  `json:"versions"`
	Earlier     []earlierDeath `json:"earlier_deaths"`
}

type lineHeader struct {
	Key   octets `json:"key"`
	Value octets `json:"value"`
}

type lineAttempt struct {
	Attempt  int32     `json:"attempt"`
	Started  time.Time `json:"started_at"`
	TookUs   int64     `json:"took_us"`
	Tier     string    `json:"tier"`
	Class    string    `json:"error_class"`
	Text     string    `json:"error_text"`
	Stack    *string   `json:"stack"`
	Instance *string   `json:"instance"`
}

type lineVersion struct {
	Version   int32        `json:"version"`
	Key       octets       `json:"key"`
	Value     octets       `json:"value"`
	Headers   []lineHeader `json:"headers"`
	Timestamp *int64       `json:"timestamp_ms"`
	Who       string       `json:"who"`
	Actor     *string      `json:"actor"`
	Reason    string       `json:"reason"`
	Made      time.Time    `json:"made_at"`
}

type earlierDeath struct {
	Death    int32     `json:"death"`
	Died     time.Time `json:"died_at"`
	Class    string    `json:"error_class"`
	Text     string    `json:"error_text"`
	Instance *string   `json:"instance"`
}

func lineHeaders(raw []byte) ([]lineHeader, error) {
	headers, err := columns.DecodeHeaders(raw)
	out := make([]lineHeader, len(headers))
	for i := range headers {
		out[i] = lineHeader{octets(headers[i].Key), headers[i].Value}
		if out[i].Key == nil { // a key is never nil
			out[i].Key = octets{}
		}
	}
	return out, err
}

func headersOf(list []lineHeader) []layby.Header {
	var out []layby.Header
	for i := range list {
		out = append(out, layby.Header{Key: string(list[i].Key), Value: list[i].Value})
	}
	return out
}
