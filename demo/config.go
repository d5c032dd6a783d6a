package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/layby-go/layby/config"
)

const (
	// sessionTimeout is how long the groups wait for a member that was killed.
	sessionTimeout = 4 * time.Second

	ordersTopic          = "order-events"
	paymentsTopic        = "payment-requests"
	inconsistenciesTopic = "catalogue-inconsistencies"

	ordersGroup   = "orders"
	paymentsGroup = "payments"
)

// groups are the consumers, in the order of the configuration, with their topics.
var groups = []struct{ group, topic string }{{ordersGroup, ordersTopic}, {paymentsGroup, paymentsTopic}}

// configText is the members' configuration: the defaults, with seconds where they have minutes.
const configText = `# Written by layby demo.
kafka:
  brokers: [%[1]s]
postgres:
  url: %[2]q
  max_connections: 4
http: {listen: "127.0.0.1:0"}
shutdown_grace: 5s
consumers:
  - group: %[3]s
    topics: [%[4]s]
%[9]s
    after_dead_letter: {default: hold, %[5]s: advance}
    routes:
      - {type: %[7]s, handler: picking}
      - {type: "*", webhook: {url: %[6]q, timeout: 1s}}
  - group: %[8]s
    topics: [%[10]s]
%[9]s
    unrouted: dead_letter
    routes:
      - {type: payment.requested, handler: payment}
`

// commonText is what the consumers have in common.
const commonText = `    session_timeout: %s
    heartbeat: 300ms
    rebalance_timeout: 10s
    handler_timeout: 5s
    workers: 32
    retry:
      immediate: {max: %d, backoff: 50ms}
      tiers: [1s, 3s, 5s]
    breaker: {window: 1s, min_calls: 5, failure_ratio: 0.5, open_for: 1s}`

// writeConfig writes the members' configuration, and reads it as they will.
func writeConfig(dir string, brokers []string, postgres string, v *services) (path string, cfg *config.Config, err error) {
	quoted := make([]string, len(brokers))
	for i, b := range brokers {
		quoted[i] = fmt.Sprintf("%q", b)
	}
	text := fmt.Sprintf(configText, strings.Join(quoted, ", "), postgres, ordersGroup, ordersTopic, typeViewed, v.warehouseURL(0), typePicked,
		paymentsGroup, fmt.Sprintf(commonText, sessionTimeout, immediate), paymentsTopic)
	path = filepath.Join(dir, "layby.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", nil, fmt.Errorf("write the members' configuration: %w", err)
	}
	cfg, _, err = config.Load(path, nil, config.Handlers("picking", "payment"))
	return path, cfg, err
}

// override is a member's own URL of the warehouse, which is so told who calls.
func override(v *services, member int) string {
	return "LAYBY__CONSUMERS__0__ROUTES__1__WEBHOOK__URL=" + v.warehouseURL(member)
}
