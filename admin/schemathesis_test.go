package admin

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestEveryAnswerIsDescribed has schemathesis send what the description allows and what it does not, as scripts/schemathesis.sh asks:
// no answer may be a 5xx, or one that the description does not have.
func TestEveryAnswerIsDescribed(t *testing.T) {
	program := os.Getenv("SCHEMATHESIS")
	if program == "" {
		t.Skip("scripts/schemathesis.sh runs it")
	}
	examples := os.Getenv("EXAMPLES")
	if examples == "" {
		examples = "50"
	}
	w := newWorld(t)
	var names []string
	for _, n := range "abcdefghijklmnopqrstuvwxyz" {
		names = append(names, "order-"+string(n))
	}
	w.put(names...)
	w.exec(`insert into {{schema}}.parked_events (consumer, partition, seq, resource, resource_text, topic, topic_id, source_offset, leader_epoch, event_type,
			attempt, spent, tier, due, copy, key, value, headers)
		select consumer, partition, 1000 + seq, resource, resource_text, topic, topic_id, 1000 + seq, 0, 'order.paid', 0, 0, '', now(), 'body', key, 'later', headers_raw
		from {{schema}}.dead_letters`)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "run", w.url+prefix+"/openapi.json", "--header", "Authorization: Bearer "+w.tokens[Admin],
		"--max-examples", examples, "--no-color", "--warnings", "off",
		"--exclude-checks", "positive_data_acceptance") // what may go together, and a reason of blanks, no schema says
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("schemathesis: %v", err)
	}
}
