package containers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/layby-go/layby/integration/stack/internal/kafkaproc"
	"github.com/layby-go/layby/integration/stack/internal/proc"
)

// Where things are in an image of the shape of apache/kafka, and in our container of it.
const (
	configFile = "/tmp/layby-server.properties"
	dataDir    = "/tmp/layby-kafka"
	// bootScript formats a new data directory, leaves an old one alone, and becomes the broker.
	bootScript = `/opt/kafka/bin/kafka-storage.sh format --ignore-formatted -t "$0" -c ` + configFile +
		` && exec /opt/kafka/bin/kafka-server-start.sh ` + configFile

	clientPort, controllerPort, internalPort = "9092", "9093", "9094"
)

// Kafka is a cluster with a container for each broker.
type Kafka struct {
	daemon    *daemon
	network   string
	nodes     []*server
	addresses []string
	down      map[int]bool
}

// StartKafka runs brokers of an image of the shape of apache/kafka. It returns before they answer.
func StartKafka(ctx context.Context, image string, brokers int) (*Kafka, error) {
	d, err := open(ctx, image)
	if err != nil {
		return nil, err
	}
	k := &Kafka{daemon: d, down: map[int]bool{}}
	if err := k.start(ctx, image, brokers); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

func (k *Kafka) start(ctx context.Context, image string, brokers int) error {
	ports, err := proc.FreePorts(ctx, brokers)
	if err != nil {
		return err
	}
	clusterID, err := kafkaproc.NewClusterID()
	if err != nil {
		return err
	}
	name := "layby-" + strings.ToLower(strconv.Itoa(ports[0])) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	_, err = k.daemon.provider.Client().NetworkCreate(ctx, name, client.NetworkCreateOptions{
		Labels: map[string]string{ownerLabel: k.daemon.owner},
	})
	if err != nil {
		return fmt.Errorf("make a network: %w", err)
	}
	k.network = name
	controllers := make([]string, brokers)
	for i := range controllers {
		controllers[i] = net.JoinHostPort(alias(i), controllerPort)
	}
	for i, port := range ports {
		k.addresses = append(k.addresses, net.JoinHostPort(k.daemon.host, strconv.Itoa(port)))
		s := kafkaproc.Settings(brokers)
		s["node.id"] = strconv.Itoa(i + 1)
		s["controller.quorum.voters"] = kafkaproc.Voters(controllers)
		s["listeners"] = fmt.Sprintf("%s://0.0.0.0:%s,%s://0.0.0.0:%s,%s://0.0.0.0:%s", kafkaproc.Client, clientPort,
			kafkaproc.Controller, controllerPort, kafkaproc.Internal, internalPort)
		s["advertised.listeners"] = fmt.Sprintf("%s://%s,%s://%s:%s", kafkaproc.Client, k.addresses[i],
			kafkaproc.Internal, alias(i), internalPort)
		s["listener.security.protocol.map"] = kafkaproc.Client + ":PLAINTEXT," + kafkaproc.Controller + ":PLAINTEXT," +
			kafkaproc.Internal + ":PLAINTEXT"
		s["inter.broker.listener.name"] = kafkaproc.Internal
		s["log.dirs"] = dataDir
		node, err := k.daemon.run(ctx, spec{
			image: image,
			env: map[string]string{
				"KAFKA_HEAP_OPTS":            kafkaproc.Heap,
				"KAFKA_JVM_PERFORMANCE_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
			},
			entrypoint: []string{"/bin/sh", "-c", bootScript, clusterID},
			files: []testcontainers.ContainerFile{{
				Reader: strings.NewReader(kafkaproc.Properties(s)), ContainerFilePath: configFile, FileMode: 0o644,
			}},
			port:      clientPort + "/tcp",
			published: port,
			network:   name,
			alias:     alias(i),
		})
		if err != nil {
			return err
		}
		k.nodes = append(k.nodes, node)
	}
	return nil
}

func alias(i int) string { return "kafka-" + strconv.Itoa(i+1) }

// Addresses are where clients reach the brokers.
func (k *Kafka) Addresses() []string { return k.addresses }

// StartBroker starts a stopped broker, 1 the first, and returns before it answers.
func (k *Kafka) StartBroker(ctx context.Context, id int) error {
	n, err := k.node(id)
	if err != nil || !k.down[id] {
		return err
	}
	if err := n.start(ctx); err != nil {
		return err
	}
	k.down[id] = false
	return nil
}

// StopBroker lets a broker hand over what it leads and waits for its end.
func (k *Kafka) StopBroker(ctx context.Context, id int) error {
	n, err := k.node(id)
	if err != nil || k.down[id] {
		return err
	}
	k.down[id] = true
	return n.stop(ctx, stopTimeout)
}

// KillBroker ends a broker with SIGKILL.
func (k *Kafka) KillBroker(ctx context.Context, id int) error {
	n, err := k.node(id)
	if err != nil || k.down[id] {
		return err
	}
	k.down[id] = true
	return n.signal(ctx, "SIGKILL")
}

// FreezeBroker pauses a broker.
func (k *Kafka) FreezeBroker(ctx context.Context, id int) error {
	n, err := k.node(id)
	if err != nil {
		return err
	}
	return n.freeze(ctx)
}

// ThawBroker lets a paused broker go on.
func (k *Kafka) ThawBroker(ctx context.Context, id int) error {
	n, err := k.node(id)
	if err != nil {
		return err
	}
	return n.thaw(ctx)
}

// Failed returns an error with the log of a broker that ended by itself, nil while none did.
func (k *Kafka) Failed() error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	for i, n := range k.nodes {
		if k.down[i+1] {
			continue
		}
		if up, err := n.running(ctx); err == nil && !up {
			return fmt.Errorf("the container of broker %d ended\n%s", i+1, n.log())
		}
	}
	return nil
}

// Log is the end of what the first broker printed.
func (k *Kafka) Log() string {
	if len(k.nodes) == 0 {
		return ""
	}
	return k.nodes[0].log()
}

// Close removes the containers and their network.
func (k *Kafka) Close() error {
	var errs []error
	for _, n := range k.nodes {
		errs = append(errs, n.remove())
	}
	if k.network != "" {
		ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
		defer cancel()
		_, err := k.daemon.provider.Client().NetworkRemove(ctx, k.network, client.NetworkRemoveOptions{})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (k *Kafka) node(id int) (*server, error) {
	if id < 1 || id > len(k.nodes) {
		return nil, fmt.Errorf("there is no broker %d, the cluster has brokers 1 to %d", id, len(k.nodes))
	}
	return k.nodes[id-1], nil
}
