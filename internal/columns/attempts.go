package columns

import (
	"encoding/json"
	"time"

	"github.com/layby-go/layby/ordering"
)

// attempt is one element of parked_events.attempts.
type attempt struct {
	Attempt  int       `json:"attempt"`
	Started  time.Time `json:"started_at"`
	TookUs   int64     `json:"took_us"`
	Tier     string    `json:"tier"`
	Class    string    `json:"error_class"`
	Text     string    `json:"error_text"`
	Stack    string    `json:"stack,omitempty"`
	Instance string    `json:"instance,omitempty"`
}

// Attempts shows attempts, made by a process, as the JSON array that the store keeps.
func Attempts(as []ordering.AttemptRecord, instance string) string {
	if len(as) == 0 {
		return "[]"
	}
	out := make([]attempt, len(as))
	for i := range as {
		a := &as[i]
		out[i] = attempt{
			Attempt: a.Attempt, Started: Time(a.Started).UTC(), TookUs: a.Took.Microseconds(),
			Tier: Text(a.Tier, 0), Instance: Text(instance, 0),
		}
		if f := a.Failure; f != nil {
			out[i].Class, out[i].Text, out[i].Stack = Text(f.Class, Indexed), Text(f.Text, ShortText), Text(f.Stack, LongText)
		}
	}
	b, err := json.Marshal(out)
	if err != nil { // times are within the years 1 to 9999, the rest are strings and numbers
		return "[]"
	}
	return string(b)
}
