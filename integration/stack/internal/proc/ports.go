package proc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken below the range that the system gives to outgoing connections. A server that is down for a while
// would else lose its port to one of them, and a client that dials a port of that range again and again ends up
// connected to itself.
const (
	firstPort = 12_000
	lastPort  = 31_999
	tries     = 1000
)

// FreePorts returns n different ports of the loopback address that nobody listens on.
func FreePorts(ctx context.Context, n int) ([]int, error) {
	var lc net.ListenConfig
	taken := make([]net.Listener, 0, n)
	defer func() {
		for _, l := range taken {
			l.Close()
		}
	}()
	ports := make([]int, 0, n)
	var last error
	for range tries {
		if len(ports) == n {
			return ports, nil
		}
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		l, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			last = err
			continue
		}
		taken = append(taken, l)
		ports = append(ports, port)
	}
	return nil, errors.Join(fmt.Errorf("found only %d of %d free ports", len(ports), n), last)
}
