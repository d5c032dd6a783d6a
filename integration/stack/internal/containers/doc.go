// Package containers runs Kafka and Postgres in Docker, through testcontainers-go.
//
// Ports are chosen here and bound to the loopback address of the Docker host, so that an address stays the same when a
// container is stopped and started, and that brokers know before they start what to advertise. Containers are removed at
// the end; those of a program that was killed are removed by the next one that starts some.
package containers
