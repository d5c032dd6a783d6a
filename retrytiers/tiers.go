// Package retrytiers knows the delays that a consumer's parked events wait out: their names, their topics, and how
// those topics must be set up.
package retrytiers

import (
	"strconv"
	"strings"
	"time"

	"github.com/layby-go/layby/config"
)

// Tier is one delay and its topic.
type Tier struct {
	Name     string // the delay as people write it: 1m, 10m, 1h
	Topic    string
	Delay    time.Duration
	Attempts int // runs that it gives; 0 for a tier that left the configuration and is only read until it is empty
}

// Of lists the tiers that a consumer's configuration names.
func Of(group string, tiers []config.Tier) []Tier {
	out := make([]Tier, len(tiers))
	for i, t := range tiers {
		name := Name(t.Delay)
		out[i] = Tier{Name: name, Topic: Prefix(group) + name, Delay: t.Delay, Attempts: t.Attempts}
	}
	return out
}

// Prefix is what the names of a group's tier topics begin with.
func Prefix(group string) string { return group + ".retry." }

// Name is how a delay is written in the name of its tier: 90s, 10m, 1h, 500ms.
func Name(delay time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if delay >= u.unit && delay%u.unit == 0 {
			return strconv.FormatInt(int64(delay/u.unit), 10) + u.name
		}
	}
	return delay.String()
}

// IsTopicOf says that a topic is called like a tier topic of the group, of a tier that the configuration has or had. What
// else begins so is another's: that of the group orders.retry begins like those of the group orders.
func IsTopicOf(group, topic string) bool {
	name, ours := strings.CutPrefix(topic, Prefix(group))
	delay, err := time.ParseDuration(name)
	return ours && err == nil && delay > 0 && Name(delay) == name
}
