package config

import "time"

// Config is the whole file. A Config that Load returned is complete and valid; the zero value is not.
//
// The tags of a field: yaml is its key, default its default as text (a comma list for lists), oneof its choices, min
// its lowest value, required that it can't be left out, secret that Print masks it, doc what it is.
type Config struct {
	Kafka         Kafka         `yaml:"kafka"`
	Postgres      Postgres      `yaml:"postgres"`
	HTTP          HTTP          `yaml:"http"`
	Admin         Admin         `yaml:"admin"`
	Log           Log           `yaml:"log"`
	ShutdownGrace time.Duration `yaml:"shutdown_grace" default:"25s" min:"1ms" doc:"How long a stop waits for running handlers before it cancels them."`
	Consumers     []Consumer    `yaml:"consumers" required:"true" doc:"The consumers of this process. Each has its own client, workers and budgets."`
}

// Kafka says how to reach the brokers.
type Kafka struct {
	Brokers []string `yaml:"brokers" default:"localhost:9092" doc:"Bootstrap brokers, each host:port."`
	TLS     *TLS     `yaml:"tls" doc:"Encrypt connections. Without this section they are plain; an empty section uses the system's certificate authorities."`
	SASL    *SASL    `yaml:"sasl" doc:"Log in. Without this section there is no login."`
}

// TLS is the encryption of connections to the brokers. Files are read again at each new connection.
type TLS struct {
	CAFile     string `yaml:"ca_file" doc:"PEM file of the authorities that may sign the brokers' certificates; default: the system's."`
	CertFile   string `yaml:"cert_file" doc:"PEM file of the client's certificate, for mutual TLS."`
	KeyFile    string `yaml:"key_file" doc:"PEM file of the client's private key, for mutual TLS."`
	ServerName string `yaml:"server_name" doc:"Name to expect in the brokers' certificates; default: the host that is dialled."`
}

// SASL is the login at the brokers.
type SASL struct {
	Mechanism    string `yaml:"mechanism" required:"true" oneof:"PLAIN SCRAM-SHA-256 SCRAM-SHA-512" doc:"How to log in."`
	User         string `yaml:"user" required:"true" doc:"User name."`
	Password     Secret `yaml:"password" secret:"value" doc:"Password. Prefer password_file or an environment variable."`
	PasswordFile string `yaml:"password_file" doc:"File that holds the password. It is read again at each new connection."`
}

// Postgres says how to reach the database.
type Postgres struct {
	URL            Secret `yaml:"url" default:"postgres://layby@localhost/layby" secret:"url" doc:"Connection URL, or a key=value connection string."`
	URLFile        string `yaml:"url_file" doc:"File that holds the URL. It is read again at each new connection."`
	Schema         string `yaml:"schema" default:"layby" doc:"Schema of Layby's tables. The roles carry its name."`
	MaxConnections int    `yaml:"max_connections" default:"8" min:"2" doc:"Most connections that this process opens."`
}

// HTTP is the listener for probes and metrics.
type HTTP struct {
	Listen string `yaml:"listen" default:"127.0.0.1:8080" doc:"Address of /livez, /readyz and /metrics. Port 0 takes a free one."`
}

// Admin is the HTTP API through which people and their tools see and correct what is parked and dead.
type Admin struct {
	Listen         string `yaml:"listen" doc:"Address of the HTTP API, such as 127.0.0.1:8081. Without it layby run serves none. Port 0 takes a free one."`
	TokensFile     string `yaml:"tokens_file" doc:"File of those who may use the API, a line each, as layby admin token makes them. It is read again when it changes. Required when listen is no address of this machine alone."`
	MaxConnections int    `yaml:"max_connections" default:"2" min:"1" doc:"Most connections to Postgres that the API opens, beside those of postgres.max_connections."`
}

// Log is what is logged, to standard error.
type Log struct {
	Level  string `yaml:"level" default:"info" oneof:"debug info warn error" doc:"Lowest level that is logged."`
	Format string `yaml:"format" default:"text" oneof:"text json" doc:"Form of a line."`
}

// Consumer is one Kafka consumer group with its source topics, retry tiers, routes and policies.
type Consumer struct {
	Group            string            `yaml:"group" required:"true" doc:"Consumer group. The tier topics start with its name."`
	Topics           []string          `yaml:"topics" required:"true" doc:"Source topics by their exact names. They have equal partition counts."`
	Start            Start             `yaml:"start" default:"earliest" doc:"Where to begin without committed offsets: earliest, latest, or a time such as 2026-01-31T00:00:00Z."`
	Isolation        Isolation         `yaml:"isolation" default:"read_committed" oneof:"read_committed read_uncommitted" doc:"Whether records of open or aborted transactions are read."`
	OnOffsetsLost    OnOffsetsLost     `yaml:"on_offsets_lost" default:"stop" oneof:"stop earliest" doc:"What to do when records were deleted before they were read: stop the partition, or go on at the earliest record."`
	SessionTimeout   time.Duration     `yaml:"session_timeout" default:"10s" min:"1ms" doc:"After this time without a heartbeat the group gives the partitions to others."`
	Heartbeat        time.Duration     `yaml:"heartbeat" default:"500ms" min:"1ms" doc:"Time between heartbeats. A rebalance waits for them."`
	RebalanceTimeout time.Duration     `yaml:"rebalance_timeout" default:"60s" min:"1ms" doc:"How long a rebalance waits for a member. Not below session_timeout."`
	Ordering         Ordering          `yaml:"ordering" default:"park" oneof:"park block none" doc:"park keeps the order of each resource, block that of the whole partition, none keeps no order."`
	Resource         Selector          `yaml:"resource" default:"key" doc:"What is kept in order: key, header:<name>, or json:<pointer> into the value."`
	EventType        Selector          `yaml:"event_type" doc:"Where the event type is: header:<name>, or json:<pointer> into the value. Without it: the header type, then ce_type."`
	Retry            Retry             `yaml:"retry"`
	ProduceTimeout   time.Duration     `yaml:"produce_timeout" default:"10s" min:"1ms" doc:"How long a tier's broker may take to acknowledge a record before its bytes go into Postgres instead."`
	TopicReplication int               `yaml:"topic_replication" default:"0" min:"0" doc:"Replication factor of the tier topics that are created; 0 is the broker's default."`
	AfterDeadLetter  AfterDeadLetter   `yaml:"after_dead_letter" default:"hold" oneof:"hold advance" doc:"Whether events wait behind a dead letter of their resource. One policy, or a map by event type with the key default."`
	Keep             Keep              `yaml:"keep" default:"720h" doc:"How long dead letters that were healed or discarded are kept, with all that was done to them: a time such as 720h, or forever. One time, or a map by event type with the key default. Open letters and the audit log always stay."`
	DeadLetterTopic  string            `yaml:"dead_letter_topic" doc:"Topic that gets a copy of each dead letter, in its original bytes with layby- headers. Without it there are no copies."`
	Schemas          map[string]string `yaml:"schemas" doc:"JSON Schema of the values of event types, a file by type: order.paid: schemas/order.paid.json. An amended value is checked against it."`
	Workers          int               `yaml:"workers" default:"64" min:"1" doc:"Most handlers that run at the same time."`
	HandlerTimeout   time.Duration     `yaml:"handler_timeout" default:"30s" min:"1ms" doc:"A handler's context ends after this time."`
	StuckGrace       time.Duration     `yaml:"stuck_grace" default:"10s" min:"1ms" doc:"A handler that ignores its ended context for this long counts as stuck and is replaced."`
	MaxSpan          MaxSpan           `yaml:"max_span"`
	WhenFull         WhenFull          `yaml:"when_full" default:"park" oneof:"park pause" doc:"What to do when slow events fill max_span: park them without an attempt, or stop fetching. While every route waits for a dependency, or a person has paused it, fetching stops instead."`
	Breaker          Breaker           `yaml:"breaker"`
	Unrouted         Unrouted          `yaml:"unrouted" oneof:"dead_letter skip" doc:"What becomes of an event that no route takes. Required where no route has the type \"*\"."`
	Routes           []Route           `yaml:"routes" required:"true" doc:"Where events go. The first route with the event's type takes it."`
}

// Retry is how a failing event is tried again.
type Retry struct {
	Immediate     Immediate     `yaml:"immediate"`
	Tiers         []Tier        `yaml:"tiers" default:"1m,10m,1h" doc:"Delays after which a parked event is tried again, one after the other. Each a delay such as 10m, or a mapping with delay and attempts."`
	MaxRetryAfter time.Duration `yaml:"max_retry_after" default:"24h" min:"1ms" doc:"Longest delay that a handler can ask for."`
}

// Immediate is the tries in place, before an event is parked and at each of its later runs.
type Immediate struct {
	Max     int           `yaml:"max" default:"2" min:"0" doc:"Most tries in place after a failed run."`
	Backoff time.Duration `yaml:"backoff" default:"100ms" min:"1ms" doc:"Wait before the first try in place. It doubles with each."`
}

// MaxSpan bounds how far a partition may read ahead of its lowest unfinished event.
type MaxSpan struct {
	Events int  `yaml:"events" default:"100000" min:"1" doc:"Most events between the lowest unfinished and the highest fetched one."`
	Bytes  Size `yaml:"bytes" default:"64MiB" min:"1" doc:"Most bytes of them."`
}

// Breaker is the circuit breaker of each webhook route.
type Breaker struct {
	Window       time.Duration `yaml:"window" default:"10s" min:"1ms" doc:"Calls are counted over this time."`
	MinCalls     int           `yaml:"min_calls" default:"20" min:"1" doc:"Calls in the window before the breaker can open."`
	FailureRatio float64       `yaml:"failure_ratio" default:"0.5" doc:"Share of failed calls that opens the breaker, above 0 and up to 1."`
	OpenFor      time.Duration `yaml:"open_for" default:"5s" min:"1ms" doc:"Time without calls before one call probes."`
}

// Route sends the events of one type somewhere. Exactly one of Skip, Webhook and Handler is set.
type Route struct {
	Type    string   `yaml:"type" required:"true" doc:"Event type by its exact name, or \"*\" for every type and for events without one."`
	Skip    bool     `yaml:"skip" doc:"true settles the events without doing anything."`
	Webhook *Webhook `yaml:"webhook" doc:"Send the events to a service over HTTP."`
	Handler string   `yaml:"handler" doc:"Name under which the program registered a handler."`
}

// Webhook is a service that handles events over HTTP.
type Webhook struct {
	URL     Secret            `yaml:"url" required:"true" secret:"url" doc:"Where events are posted."`
	Timeout time.Duration     `yaml:"timeout" default:"5s" min:"1ms" doc:"How long an answer may take."`
	Headers map[string]Secret `yaml:"headers" secret:"value" doc:"Headers that are sent with every event."`
}

// AnyType is the route type that takes every event.
const AnyType = "*"
