// Package kafkaproc runs Apache Kafka brokers as processes of this machine, without Docker: it lets Maven fetch the jars
// of a broker once and starts them with java (KRaft, each node a broker and a controller).
package kafkaproc
