package dls

import (
	"encoding/json"
	"time"

	"github.com/layby-go/layby/internal/columns"
	"github.com/layby-go/layby/ordering"
)

// letterRows are letters as parallel arrays, in the order of sql/letters.sql.
type letterRows struct {
	seq          []int64
	parked       []bool
	resource     [][]byte
	resourceText []*string
	topic        []string
	topicID      [][16]byte
	offset       []int64
	leaderEpoch  []int32
	eventType    []string
	state        []string
	policy       []string
	attempt      []int32
	class        []string
	text         []string
	chain        []string
	details      []*string
	stack        []*string
	fingerprint  []string
	hasBytes     []bool
	key          [][]byte
	keyText      []*string
	value        [][]byte
	headers      []string
	headersRaw   [][]byte
	timestamp    []*int64
	eventTime    []*time.Time
	attempts     []string
}

// Letters returns the statement that writes letters of a lane: it removes the rows of their parked events, writes or
// updates one letter each and their attempts. An event that has a letter dies again: the letter keeps its id.
func (s *Store) Letters(consumer string, partition int32, instance string, letters []ordering.Letter) (sql string, args []any) {
	return s.put(consumer, partition, instance, letters, false)
}

// CopiedLetters is like Letters, and notes that a topic is to get copies of them.
func (s *Store) CopiedLetters(consumer string, partition int32, instance string, letters []ordering.Letter) (sql string, args []any) {
	return s.put(consumer, partition, instance, letters, true)
}

func (s *Store) put(consumer string, partition int32, instance string, letters []ordering.Letter, copied bool) (sql string, args []any) {
	r := &letterRows{}
	for i := range letters {
		r.row(&letters[i], instance)
		r.failure(letters[i].Failure)
		r.bytes(&letters[i])
	}
	return s.letters, []any{
		consumer, partition, columns.Text(instance, 0),
		r.seq, r.parked, r.resource, r.resourceText, r.topic, r.topicID, r.offset, r.leaderEpoch,
		r.eventType, r.state, r.policy, r.attempt, r.class, r.text, r.chain, r.details,
		r.stack, r.fingerprint, r.hasBytes, r.key, r.keyText, r.value, r.headers, r.headersRaw,
		r.timestamp, r.eventTime, r.attempts, copied,
	}
}

func (r *letterRows) row(l *ordering.Letter, instance string) {
	state, policy := Dead, "hold"
	if l.Awaiting {
		state = Awaiting
	}
	if l.Policy == ordering.Advance {
		policy = "advance"
	}
	r.seq = append(r.seq, l.Row.Seq)
	r.parked = append(r.parked, l.Parked)
	r.resource = append(r.resource, []byte(l.Row.Resource))
	r.resourceText = append(r.resourceText, columns.Readable(l.Row.Resource))
	r.topic = append(r.topic, columns.Text(l.Row.Topic, 0))
	r.topicID = append(r.topicID, l.Row.Position.Topic)
	r.offset = append(r.offset, l.Row.Position.Offset)
	r.leaderEpoch = append(r.leaderEpoch, l.Row.Position.Epoch)
	r.eventType = append(r.eventType, columns.Text(l.Row.Type, columns.Indexed))
	r.state = append(r.state, string(state))
	r.policy = append(r.policy, policy)
	r.attempt = append(r.attempt, int32(l.Row.Attempt)) //nolint:gosec // handler starts of one event
	r.attempts = append(r.attempts, columns.Attempts(l.Attempts, instance))
}

func (r *letterRows) failure(f *ordering.Failure) {
	if f == nil {
		f = &ordering.Failure{}
	}
	class, text := columns.Text(f.Class, columns.Indexed), columns.Text(f.Text, columns.LongText)
	chain := make([]string, len(f.Chain))
	for i := range f.Chain {
		chain[i] = columns.Text(f.Chain[i], columns.ShortText)
	}
	list, err := json.Marshal(chain)
	if err != nil { // a slice of strings always encodes
		list = []byte("[]")
	}
	r.class = append(r.class, class)
	r.text = append(r.text, text)
	r.chain = append(r.chain, string(list))
	r.details = append(r.details, optional(string(f.Details), 0))
	r.stack = append(r.stack, optional(f.Stack, columns.LongText))
	r.fingerprint = append(r.fingerprint, Fingerprint(class, text))
}

func (r *letterRows) bytes(l *ordering.Letter) {
	e := l.Event
	r.hasBytes = append(r.hasBytes, e != nil)
	if e == nil {
		r.key, r.keyText, r.value = append(r.key, nil), append(r.keyText, nil), append(r.value, nil)
		r.headers, r.headersRaw = append(r.headers, "[]"), append(r.headersRaw, nil)
		r.timestamp, r.eventTime = append(r.timestamp, nil), append(r.eventTime, nil)
		return
	}
	var keyText *string
	if e.Key != nil {
		keyText = columns.Readable(e.Key)
	}
	ms, at := e.Timestamp.UnixMilli(), columns.Time(e.Timestamp)
	r.key, r.keyText, r.value = append(r.key, e.Key), append(r.keyText, keyText), append(r.value, e.Value)
	r.headers = append(r.headers, columns.ReadableHeaders(e.Headers))
	r.headersRaw = append(r.headersRaw, columns.EncodeHeaders(e.Headers))
	r.timestamp, r.eventTime = append(r.timestamp, &ms), append(r.eventTime, &at)
}

func optional(s string, limit int) *string {
	if s == "" {
		return nil
	}
	s = columns.Text(s, limit)
	return &s
}
