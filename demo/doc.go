// Package demo shows what Layby does, on one machine and with nothing set up: it starts a Kafka (kfake), a Postgres, a
// service over HTTP and members of a consumer group as child processes, lets several things go wrong, and then checks
// the guarantees against what the service saw and what Postgres holds.
package demo
