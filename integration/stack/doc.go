// Package stack gives tests a real Kafka and a real Postgres. Each comes from the first of these that is there:
//
//  1. LAYBY_KAFKA (host:port, several with commas) and LAYBY_POSTGRES (a URL of a superuser): used as they are.
//  2. Docker, with the images apache/kafka:4.4.0 and postgres:18 or those that LAYBY_KAFKA_IMAGE and
//     LAYBY_POSTGRES_IMAGE name; an image that is not there has 60 s to be pulled.
//  3. Processes on the loopback address: Kafka from jars that Maven fetches once, run by java, and the machine's own
//     Postgres, else one that is downloaded once.
//
// LAYBY_STACK=docker or LAYBY_STACK=process allows only that one of the last two. What was chosen, and why not what comes
// before it, is in the log of the test that started it. Where nothing works the test fails and says what to install.
//
// A test binary has one shared Kafka and one shared Postgres, started when a test first asks for them:
//
//	func TestMain(m *testing.M) { stack.Main(m) }
//
//	func TestX(t *testing.T) {
//		kafka, postgres := stack.SharedKafka(t), stack.SharedPostgres(t)
//		topic := stack.Name(t, "orders")
//		kafka.CreateTopics(t, 3, nil, topic)
//		url := postgres.NewDatabase(t)
//		...
//	}
//
// A test that stops, freezes or kills a shared server gets it repaired at its end, and can't run in parallel with others;
// NewKafka and NewPostgres start servers for one test alone. Servers end with the test binary, also when it is killed.
package stack
