package kafkaproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/layby-go/layby/integration/stack/internal/proc"
)

const (
	// Heap is the memory option of a broker's java.
	Heap        = "-Xmx384m"
	stopTimeout = 30 * time.Second
)

// jvm makes a broker start fast and stay small: no optimising compiler, one garbage collector thread.
var jvm = []string{
	Heap, "-Xms64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Djava.awt.headless=true",
	"-Dorg.apache.logging.log4j.level=ERROR",
}

// Cluster is one broker or several, on fixed ports of the loopback address.
type Cluster struct {
	keeper *proc.Keeper
	java   string
	jars   string
	nodes  []*node
}

type node struct {
	dir     string
	address string
	process *proc.Process // nil while it is stopped
}

// Start formats the directories of a new cluster and starts its brokers. It returns before they answer.
func Start(ctx context.Context, brokers int, log io.Writer) (*Cluster, error) {
	java, err := findJava(ctx)
	if err != nil {
		return nil, err
	}
	jars, err := fetchJars(ctx, log)
	if err != nil {
		return nil, err
	}
	keeper, err := proc.NewKeeper("kafka")
	if err != nil {
		return nil, err
	}
	c := &Cluster{keeper: keeper, java: java, jars: jars}
	if err := c.start(ctx, brokers); err != nil {
		return nil, errors.Join(fmt.Errorf("start Kafka: %w", err), keeper.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, brokers int) error {
	ports, err := proc.FreePorts(ctx, 2*brokers)
	if err != nil {
		return err
	}
	local := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	controllers := make([]string, brokers)
	for i := range controllers {
		controllers[i] = local(ports[brokers+i])
	}
	clusterID, err := NewClusterID()
	if err != nil {
		return err
	}
	for i := range brokers {
		n := &node{dir: filepath.Join(c.keeper.Dir, strconv.Itoa(i+1)), address: local(ports[i])}
		settings := Settings(brokers)
		settings["node.id"] = strconv.Itoa(i + 1)
		settings["controller.quorum.voters"] = Voters(controllers)
		settings["listeners"] = Client + "://" + n.address + "," + Controller + "://" + controllers[i]
		settings["listener.security.protocol.map"] = Client + ":PLAINTEXT," + Controller + ":PLAINTEXT"
		settings["inter.broker.listener.name"] = Client
		settings["log.dirs"] = filepath.Join(n.dir, "data")
		if err := c.format(ctx, n, clusterID, settings); err != nil {
			return err
		}
		c.nodes = append(c.nodes, n)
	}
	for i := range c.nodes {
		if err := c.StartBroker(ctx, i+1); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) format(ctx context.Context, n *node, clusterID string, settings map[string]string) error {
	if err := os.MkdirAll(n.dir, 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(n.config(), []byte(Properties(settings)), 0o600); err != nil {
		return err
	}
	return proc.Run(ctx, proc.Command{
		Path: c.java,
		Args: c.args("kafka.tools.StorageTool", "format", "-t", clusterID, "-c", n.config()),
	})
}

func (c *Cluster) args(main string, args ...string) []string {
	all := append([]string{}, jvm...)
	all = append(all, "-cp", filepath.Join(c.jars, "*"), main)
	return append(all, args...)
}

func (n *node) config() string { return filepath.Join(n.dir, "server.properties") }

// Addresses are where clients reach the brokers; the first is that of broker 1.
func (c *Cluster) Addresses() []string {
	all := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		all[i] = n.address
	}
	return all
}

// StartBroker starts a stopped broker, 1 the first, and returns before it answers.
func (c *Cluster) StartBroker(_ context.Context, id int) error {
	n, err := c.node(id)
	if err != nil || n.process != nil {
		return err
	}
	n.process, err = c.keeper.Start(proc.Command{
		Path: c.java, Args: c.args("kafka.Kafka", n.config()), Log: filepath.Join(n.dir, "broker.log"),
	})
	return err
}

// StopBroker lets a broker hand over what it leads and waits for its end.
func (c *Cluster) StopBroker(ctx context.Context, id int) error {
	n, err := c.node(id)
	if err != nil || n.process == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	err = n.process.Stop(ctx, syscall.SIGTERM)
	n.process = nil
	return err
}

// KillBroker ends a broker with SIGKILL.
func (c *Cluster) KillBroker(_ context.Context, id int) error {
	n, err := c.node(id)
	if err != nil || n.process == nil {
		return err
	}
	n.process.Kill()
	n.process = nil
	return nil
}

// FreezeBroker stops a broker as it is: connections stay open and nothing is answered.
func (c *Cluster) FreezeBroker(ctx context.Context, id int) error {
	n, err := c.running(id)
	if err != nil {
		return err
	}
	return n.process.Freeze(ctx)
}

// ThawBroker lets a frozen broker go on.
func (c *Cluster) ThawBroker(ctx context.Context, id int) error {
	n, err := c.running(id)
	if err != nil {
		return err
	}
	return n.process.Thaw(ctx)
}

// Failed returns an error with the log of a broker that ended by itself, nil while none did.
func (c *Cluster) Failed() error {
	for i, n := range c.nodes {
		if n.process == nil {
			continue
		}
		select {
		case <-n.process.Done():
			return fmt.Errorf("broker %d: %w", i+1, n.process.Failed())
		default:
		}
	}
	return nil
}

// Log is the end of what a broker printed, for an error.
func (c *Cluster) Log() string {
	for _, n := range c.nodes {
		if n.process != nil {
			if tail := n.process.LogTail(); tail != "" {
				return tail
			}
		}
	}
	return "the brokers printed nothing"
}

// Close kills the brokers and removes their files.
func (c *Cluster) Close() error { return c.keeper.Close() }

func (c *Cluster) node(id int) (*node, error) {
	if id < 1 || id > len(c.nodes) {
		return nil, fmt.Errorf("there is no broker %d, the cluster has brokers 1 to %d", id, len(c.nodes))
	}
	return c.nodes[id-1], nil
}

func (c *Cluster) running(id int) (*node, error) {
	n, err := c.node(id)
	if err == nil && n.process == nil {
		err = fmt.Errorf("broker %d is stopped", id)
	}
	return n, err
}
