package cli

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/layby-go/layby/doctor"
)

// examine runs the doctor and returns what it found.
func examine(t *testing.T, want int, file string, opts []Option) []doctor.Finding {
	t.Helper()
	r := try(t, file, opts, "doctor", "-o", "json")
	if r.code != want {
		t.Fatalf("exit %d, wanted %d\n%s%s", r.code, want, r.stdout, r.stderr)
	}
	var findings []doctor.Finding
	if err := json.Unmarshal([]byte(r.stdout), &findings); err != nil {
		t.Fatalf("%v in %s", err, r.stdout)
	}
	return findings
}

// expectFinding looks for a finding with a status, a text, and something to do about it.
func expectFinding(t *testing.T, findings []doctor.Finding, check string, status doctor.Status, text string, do ...string) {
	t.Helper()
	for _, f := range findings {
		if f.Check != check || f.Status != status || !strings.Contains(f.Text, text) {
			continue
		}
		for _, command := range do {
			if !slices.ContainsFunc(f.Do, func(have string) bool { return strings.Contains(have, command) }) {
				t.Errorf("%s: %q is none of what it says to do: %q", check, command, f.Do)
			}
		}
		return
	}
	t.Errorf("no finding of %s is %s with %q: %+v", check, status, text, findings)
}

// besides adds a variable to the environment of commands.
func besides(t *testing.T, opts []Option, variable string) []Option {
	t.Helper()
	env, ok := opts[0].(environment)
	if !ok {
		t.Fatalf("%T is no environment", opts[0])
	}
	return append([]Option{append(slices.Clone(env), variable)}, opts[1:]...)
}

// TestDoctor looks at a consumer before anything is there, when all is there, and when it lies with another cluster's.
func TestDoctor(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "order-events"))
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	file := valid + "    retry: {tiers: [1m]}\n"

	findings := examine(t, exitFailed, file, opts)
	expectFinding(t, findings, "kafka", doctor.OK, "1 brokers answer; Kafka ")
	expectFinding(t, findings, "schema", doctor.Failed, "lacks migration 00001", "layby migrate up")
	expectFinding(t, findings, "topics", doctor.Warning, "orders.retry.1m is missing", "layby topics apply")
	expectFinding(t, findings, "safety", doctor.Warning, "order-events: min.insync.replicas is 1", "--entity-name order-events --add-config min.insync.replicas=2")

	for _, command := range [][]string{{"migrate", "up"}, {"topics", "apply"}} {
		if r := try(t, file, opts, command...); r.code != exitDone {
			t.Fatalf("%v: %+v", command, r)
		}
	}
	findings = examine(t, exitDone, file, opts)
	for _, check := range []string{"kafka", "rights", "topics", "postgres", "durability", "clock", "pooler", "schema", "roles", "cluster", "partitioners"} {
		expectFinding(t, findings, check, doctor.OK, "")
	}
	expectFinding(t, findings, "cluster", doctor.OK, "it has not run yet")

	insert := `insert into ` + schema + `.partitions (consumer, partition, cluster_id, owner, partition_count)
		values ('orders', 0, 'another', gen_random_uuid(), 3), ('orders', 1, 'another', gen_random_uuid(), 3)`
	parked := `insert into ` + schema + `.parked_resources (consumer, partition, resource, resource_text)
		values ('orders', 0, 'order-17', 'order-17'), ('orders', 1, 'order-17', 'order-17'), ('orders', 1, 'order-18', 'order-18')`
	for _, sql := range []string{insert, parked} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	findings = examine(t, exitFailed, file, opts)
	expectFinding(t, findings, "cluster", doctor.Failed, "belong to Kafka cluster another", "use another group")
	expectFinding(t, findings, "partitioners", doctor.Warning, `"order-17" in [0 1]`, "one partitioner")
	if f := findings[slices.IndexFunc(findings, func(f doctor.Finding) bool { return f.Check == "partitioners" })]; strings.Contains(f.Text, "order-18") {
		t.Errorf("a resource in one partition is named: %s", f.Text)
	}
	r := try(t, file, opts, "doctor")
	r.expect(t, exitFailed, "failed   cluster       orders", "layby: something has failed")
	r.expect(t, exitFailed, "\npartitioners orders:\n  let all producers", "")
}

// TestDoctorNamesTheRightsThatAreMissing gives a user some rights, and then those that the doctor names.
func TestDoctorNamesTheRightsThatAreMissing(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	allow := func(resource kmsg.ACLResourceType, pattern kmsg.ACLResourcePatternType, name string, ops ...kmsg.ACLOperation) (acls []kfake.ACL) {
		for _, op := range ops {
			acls = append(acls, kfake.ACL{Resource: resource, Name: name, Pattern: pattern, Operation: op, Allow: true})
		}
		return acls
	}
	literal, prefixed := kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLResourcePatternTypePrefixed
	some := slices.Concat(
		allow(kmsg.ACLResourceTypeTopic, literal, "order-events", kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs),
		allow(kmsg.ACLResourceTypeTopic, prefixed, "orders.retry.", kmsg.ACLOperationRead, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs),
		allow(kmsg.ACLResourceTypeGroup, literal, "orders", kmsg.ACLOperationDescribe))
	all := slices.Concat(some,
		allow(kmsg.ACLResourceTypeTopic, literal, "order-events", kmsg.ACLOperationRead),
		allow(kmsg.ACLResourceTypeTopic, prefixed, "orders.retry.", kmsg.ACLOperationWrite),
		allow(kmsg.ACLResourceTypeGroup, literal, "orders", kmsg.ACLOperationRead))
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "order-events", "orders.retry.1m"), kfake.EnableSASL(), kfake.EnableACLs(),
		kfake.User("PLAIN", "some", "secret", some...), kfake.User("PLAIN", "all", "secret", all...))
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	file := func(user string) string {
		return valid + "    retry: {tiers: [1m]}\nkafka: {sasl: {mechanism: PLAIN, user: " + user + ", password: secret}}\n"
	}
	if r := try(t, file("some"), opts, "migrate", "up"); r.code != exitDone {
		t.Fatalf("%+v", r)
	}
	findings := examine(t, exitFailed, file("some"), opts)
	expectFinding(t, findings, "rights", doctor.Failed, "3 rights are missing",
		`kafka-acls.sh --bootstrap-server "$BROKERS" --add --allow-principal "User:some" --operation Read --topic order-events`,
		`--operation Write --resource-pattern-type prefixed --topic orders.retry.`,
		`--operation Read --group orders`)
	findings = examine(t, exitFailed, file("all"), opts) // the retry topic that was seeded is not set up as it must be
	expectFinding(t, findings, "rights", doctor.OK, "")
	expectFinding(t, findings, "topics", doctor.Failed, "orders.retry.1m: ", "layby topics apply")
}

// TestDoctorWithoutServers finds that nothing answers.
func TestDoctorWithoutServers(t *testing.T) {
	nowhere := []Option{environment{"LAYBY__KAFKA__BROKERS=127.0.0.1:1", "LAYBY__POSTGRES__URL=postgres://layby@127.0.0.1:1/layby"}}
	findings := examine(t, exitFailed, valid, nowhere)
	expectFinding(t, findings, "kafka", doctor.Failed, "no broker answers", "127.0.0.1:1 (kafka.brokers)")
	expectFinding(t, findings, "postgres", doctor.Failed, "it does not answer", "postgres.url")
}
