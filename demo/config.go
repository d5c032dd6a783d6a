package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// sessionTimeout is how long the group waits for a member that was killed.
const sessionTimeout = 4 * time.Second

// configText is the members' configuration: the defaults, with seconds where they have minutes.
const configText = `# Written by layby demo.
kafka:
  brokers: [%s]
postgres:
  url: %q
  max_connections: 4
http: {listen: "127.0.0.1:0"}
shutdown_grace: 5s
consumers:
  - group: %s
    topics: [%s]
    session_timeout: %s
    heartbeat: 300ms
    rebalance_timeout: 10s
    handler_timeout: 2s
    workers: 32
    retry:
      immediate: {max: %d, backoff: 50ms}
      tiers: [1s, 3s, 5s]
    after_dead_letter: {default: hold, %s: advance}
    breaker: {window: 1s, min_calls: 5, failure_ratio: 0.5, open_for: 1s}
    routes:
      - {type: %s, webhook: {url: %q, timeout: 1s}}
      - {type: "*", webhook: {url: %q, timeout: 1s}}
`

// writeConfig writes the members' configuration and returns its path.
func writeConfig(dir string, brokers []string, postgres string, v *service) (string, error) {
	quoted := make([]string, len(brokers))
	for i, b := range brokers {
		quoted[i] = fmt.Sprintf("%q", b)
	}
	text := fmt.Sprintf(configText, strings.Join(quoted, ", "), postgres, groupName, topicName, sessionTimeout, immediate,
		typeViewed, typePaid, v.paymentsURL(0), v.eventsURL(0))
	path := filepath.Join(dir, "layby.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write the members' configuration: %w", err)
	}
	return path, nil
}

// overrides are a member's own URLs, so that the service knows who calls. The order is that of the routes.
func overrides(v *service, member int) []string {
	const route = "LAYBY__CONSUMERS__0__ROUTES__%d__WEBHOOK__URL=%s"
	return []string{fmt.Sprintf(route, 0, v.paymentsURL(member)), fmt.Sprintf(route, 1, v.eventsURL(member))}
}
