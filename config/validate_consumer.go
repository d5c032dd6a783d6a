package config

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

const (
	// maxTopic is Kafka's longest topic name.
	maxTopic = 249
	// maxGroup leaves room for ".retry." and a delay in the name of a tier topic.
	maxGroup = maxTopic - 32
	// maxTierDelay bounds a delay: retention is ten times as long.
	maxTierDelay = 366 * 24 * time.Hour
	// maxInPlace bounds what an event waits between its retries in place: nothing of that is recorded.
	maxInPlace = 10 * time.Minute
)

// wait is the time between the first run and the last retry in place, without the runs; maxInPlace and more where it is
// longer.
func (i Immediate) wait() time.Duration {
	total, next := time.Duration(0), i.Backoff
	for range i.Max {
		if total += next; total > maxInPlace {
			break
		}
		next *= 2
	}
	return total
}

func (v *validator) consumer(path string, c *Consumer) {
	at := func(key string) string { return child(path, key) }
	if v.ok(at("group")) {
		switch {
		case !topicName.MatchString(c.Group):
			v.fail(at("group"), "%q can't start the name of a tier topic: write letters, digits, dots, _ and -", c.Group)
		case len(c.Group) > maxGroup:
			v.fail(at("group"), "has %d characters: write at most %d", len(c.Group), maxGroup)
		}
	}
	for i, topic := range c.Topics {
		v.topic(item(at("topics"), i), topic, c, i)
	}
	for _, eventType := range slices.Sorted(maps.Keys(c.Schemas)) {
		v.file(child(at("schemas"), eventType), c.Schemas[eventType])
	}
	v.membership(path, c)
	if v.ok(at("breaker.failure_ratio")) && !(c.Breaker.FailureRatio > 0 && c.Breaker.FailureRatio <= 1) {
		v.fail(at("breaker.failure_ratio"), "%v is out of range: write a share above 0 and up to 1, such as 0.5", c.Breaker.FailureRatio)
	}
	if v.ok(at("event_type")) && c.EventType.From == FromKey {
		v.fail(at("event_type"), "can't be the key: write header:<name> or json:/path/to/field")
	}
	if in := c.Retry.Immediate; v.ok(at("retry.immediate.max")) && v.ok(at("retry.immediate.backoff")) && in.wait() > maxInPlace {
		v.fail(at("retry.immediate.max"), "%d retries in place, the first after %v and each after twice the time, take longer than %v: "+
			"write fewer, what heals later is for the tiers", in.Max, in.Backoff, maxInPlace)
	}
	v.tiers(at("retry.tiers"), c.Retry.Tiers)
	if c.DeadLetterTopic != "" {
		v.deadLetterTopic(at("dead_letter_topic"), c)
	}
	v.policies(path, c)
	v.routes(path, c)
}

// topic checks the name of a source topic.
func (v *validator) topic(path, topic string, c *Consumer, i int) {
	if !v.ok(path) {
		return
	}
	own := own(topic, v.cfg.Consumers)
	switch {
	case strings.ContainsAny(topic, `*^$|\[]()+?{}`):
		v.fail(path, "%q is a pattern: write the exact name of each topic", topic)
	case topic == "." || topic == "..", !topicName.MatchString(topic):
		v.fail(path, "%q is no topic name: write letters, digits, dots, _ and -", topic)
	case len(topic) > maxTopic:
		v.fail(path, "has %d characters: Kafka's topic names have at most %d", len(topic), maxTopic)
	case own != "":
		v.fail(path, "%q is a topic that Layby itself writes for the group %s: write the topics of your events only", topic, own)
	case slices.Index(c.Topics, topic) < i:
		v.fail(path, "%q is listed twice: remove one", topic)
	}
}

// deadLetterTopic checks the name of the topic of copies: nobody reads or writes it for another purpose here.
func (v *validator) deadLetterTopic(path string, c *Consumer) {
	topic := c.DeadLetterTopic
	if !v.ok(path) {
		return
	}
	switch group := own(topic, v.cfg.Consumers); {
	case topic == "." || topic == "..", !topicName.MatchString(topic):
		v.fail(path, "%q is no topic name: write letters, digits, dots, _ and -", topic)
	case len(topic) > maxTopic:
		v.fail(path, "has %d characters: Kafka's topic names have at most %d", len(topic), maxTopic)
	case group != "":
		v.fail(path, "%q is a topic that Layby writes for another purpose, for the group %s: write another name", topic, group)
	case slices.Contains(c.Topics, topic):
		v.fail(path, "%q is a source topic of this consumer: its dead letters would come back to it", topic)
	}
}

// own returns the group to whose retry tiers or channels a topic belongs, or "".
func own(topic string, consumers []Consumer) string {
	for _, c := range consumers {
		if c.Group != "" && (strings.HasPrefix(topic, c.Group+".retry.") || topic == c.Group+".errors" || topic == c.Group+".control") {
			return c.Group
		}
	}
	return ""
}

// membership checks the times that keep a partition with one owner.
func (v *validator) membership(path string, c *Consumer) {
	session, heartbeat, rebalance := child(path, "session_timeout"), child(path, "heartbeat"), child(path, "rebalance_timeout")
	if v.ok(session, heartbeat) && c.Heartbeat >= c.SessionTimeout/3 {
		v.fail(heartbeat, "%s is too long: write less than a third of session_timeout (%s)", formatDuration(c.Heartbeat), formatDuration(c.SessionTimeout))
	}
	if v.ok(session, rebalance) && c.RebalanceTimeout < c.SessionTimeout {
		v.fail(rebalance, "%s is below session_timeout (%[2]s), so that two members could own a partition: write %[2]s or more", formatDuration(c.RebalanceTimeout), formatDuration(c.SessionTimeout))
	}
	if timeout := child(path, "handler_timeout"); v.ok(session, timeout) && c.HandlerTimeout > c.SessionTimeout/2 {
		v.warn(timeout, "%s is more than half of session_timeout (%s): a handler that runs longer than %s is cancelled when its partition moves, and its event runs again",
			formatDuration(c.HandlerTimeout), formatDuration(c.SessionTimeout), formatDuration(c.SessionTimeout/2))
	}
}

func (v *validator) tiers(path string, tiers []Tier) {
	if len(tiers) == 0 && v.ok(path) {
		v.fail(path, "is empty: write at least one delay, such as [1m]")
	}
	for i, t := range tiers {
		p := item(path, i)
		if !v.ok(p) {
			continue
		}
		for j, other := range tiers[:i] {
			switch {
			case other.Delay == t.Delay:
				v.fail(p, "%s is the delay of tier %d too, and tiers are named by their delay: write {delay: %[1]s, attempts: 2} once", formatDuration(t.Delay), j)
			case other.Delay > t.Delay && j == i-1:
				v.warn(p, "%s is shorter than the tier before it (%s)", formatDuration(t.Delay), formatDuration(other.Delay))
			}
		}
		if t.Delay > maxTierDelay {
			v.fail(p, "%s is too long: write %s or less", formatDuration(t.Delay), formatDuration(maxTierDelay))
		}
	}
}

func (v *validator) policies(path string, c *Consumer) {
	if c.Ordering != Block || !v.ok(child(path, "after_dead_letter")) {
		return
	}
	for _, p := range c.AfterDeadLetter {
		if p == Hold {
			v.warn(child(path, "after_dead_letter"), "hold under ordering: block stops a whole partition at a dead letter until a person replays, "+
				"discards or advances it; write advance to go on without one")
			return
		}
	}
}

func (v *validator) routes(path string, c *Consumer) {
	first, catchAll := map[string]int{}, -1
	for i := range c.Routes {
		r, p := &c.Routes[i], item(child(path, "routes"), i)
		v.route(p, r, c)
		switch j, twice := first[r.Type]; {
		case r.Type == "":
		case catchAll >= 0:
			v.warn(child(p, "type"), "never matches: route %d before it takes every type", catchAll)
		case twice:
			v.warn(child(p, "type"), "never matches: route %d before it has the same type", j)
		default:
			first[r.Type] = i
		}
		if r.Type == AnyType && catchAll < 0 {
			catchAll = i
		}
	}
	if p := child(path, "unrouted"); catchAll < 0 && c.Unrouted == "" && len(c.Routes) > 0 && v.ok(p, child(path, "routes")) {
		v.fail(p, "is required, since no route has the type %q: write dead_letter or skip", AnyType)
	}
}

// route checks one route: it leads to exactly one place.
func (v *validator) route(path string, r *Route, c *Consumer) {
	if r.Type != AnyType && strings.Contains(r.Type, "*") && v.ok(child(path, "type")) {
		v.fail(child(path, "type"), "%q is a pattern: write one type by its exact name, or %q for all", r.Type, AnyType)
	}
	places := 0
	for _, set := range []bool{r.Skip, r.Webhook != nil, r.Handler != ""} {
		if set {
			places++
		}
	}
	if places != 1 && v.ok(path) {
		v.fail(path, "leads to %d places: write exactly one of skip: true, webhook: {url: ...} and handler: <name>", places)
	}
	if r.Webhook != nil {
		v.webhook(child(path, "webhook"), r.Webhook, c)
	}
	if p := child(path, "handler"); r.Handler != "" && v.opts.checkHandlers && !slices.Contains(v.opts.handlers, r.Handler) && v.ok(p) {
		v.fail(p, "%s", unknownHandler(r.Handler, v.opts.handlers))
	}
}

func unknownHandler(name string, registered []string) string {
	text := fmt.Sprintf("the program registered no handler named %.*q", longestName, name)
	if word := nearest(name, registered); word != "" && len(name) < longestName {
		return text + "; did you mean " + word + "?"
	}
	if len(registered) == 0 {
		return text + ", nor any other: write a webhook, or run a program with handlers"
	}
	return text + "; registered: " + strings.Join(slices.Sorted(slices.Values(registered)), ", ")
}

func (v *validator) webhook(path string, w *Webhook, c *Consumer) {
	if p := child(path, "url"); v.ok(p) {
		// No text of url.Parse here: it repeats the URL, which may hold a password.
		u, err := url.Parse(w.URL.Reveal())
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			v.fail(p, "is no URL of a service: write http://host:port/path or https://host/path")
		}
	}
	if p := child(path, "timeout"); v.ok(p, child(path, "handler_timeout")) && w.Timeout > c.HandlerTimeout {
		v.warn(p, "%s is longer than handler_timeout (%s), which ends the call first", formatDuration(w.Timeout), formatDuration(c.HandlerTimeout))
	}
	for name := range w.Headers {
		if !headerName.MatchString(name) {
			v.fail(child(child(path, "headers"), name), "is no name of an HTTP header")
		}
	}
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
