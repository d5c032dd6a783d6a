package kafkaproc

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Names of the listeners: Client is what a broker advertises, Controller carries the metadata quorum.
const (
	Client     = "CLIENT"
	Controller = "CONTROLLER"
	Internal   = "INTERNAL" // between brokers, where they don't reach each other at the advertised address
)

// Settings are the properties of every broker of a test cluster of the given size.
func Settings(brokers int) map[string]string {
	copies, inSync := "1", "1"
	if brokers > 1 {
		copies, inSync = "3", "2"
	}
	s := map[string]string{
		"process.roles":             "broker,controller",
		"controller.listener.names": Controller,

		// What tests need: short sessions, no waiting for a group's first members, no topic by accident.
		"group.min.session.timeout.ms":     "1000",
		"group.initial.rebalance.delay.ms": "0",
		"auto.create.topics.enable":        "false",
		"delete.topic.enable":              "true",

		// A broker that was killed is taken for gone, and let in again, after 3 s instead of 9.
		"broker.session.timeout.ms":    "3000",
		"broker.heartbeat.interval.ms": "500",

		// Retention is a matter of seconds in some tests.
		"log.retention.check.interval.ms": "1000",

		"default.replication.factor":                                  copies,
		"min.insync.replicas":                                         inSync,
		"offsets.topic.replication.factor":                            copies,
		"offsets.topic.num.partitions":                                "3",
		"transaction.state.log.replication.factor":                    copies,
		"transaction.state.log.min.isr":                               inSync,
		"transaction.state.log.num.partitions":                        "3",
		"share.coordinator.state.topic.replication.factor":            copies,
		"share.coordinator.state.topic.min.isr":                       inSync,
		"share.coordinator.state.topic.num.partitions":                "3",
		"transaction.partition.verification.enable":                   "true",
		"log.cleaner.dedupe.buffer.size":                              "4194304", // the default takes 128 MB of heap
		"log.initial.task.delay.ms":                                   "1000",
		"num.io.threads":                                              "2",
		"num.network.threads":                                         "2",
		"num.replica.fetchers":                                        "1",
		"num.recovery.threads.per.data.dir":                           "1",
		"background.threads":                                          "2",
		"group.coordinator.threads":                                   "1",
		"controller.quorum.append.linger.ms":                          "5",
		"replica.high.watermark.checkpoint.interval.ms":               "1000",
		"controlled.shutdown.max.retries":                             "1",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
	}
	return s
}

// NewClusterID returns an id in the form that Kafka uses.
func NewClusterID() (string, error) {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return "", err
	}
	id[0] &= 0x7f // one that starts with "-" would be taken for an option
	return base64.RawURLEncoding.EncodeToString(id), nil
}

// Properties writes settings in the form of a properties file, sorted.
func Properties(settings map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s=%s\n", k, settings[k])
	}
	return b.String()
}

// Voters is the value of controller.quorum.voters: the nodes are numbered from 1.
func Voters(addresses []string) string {
	voters := make([]string, len(addresses))
	for i, a := range addresses {
		voters[i] = strconv.Itoa(i+1) + "@" + a
	}
	return strings.Join(voters, ",")
}
