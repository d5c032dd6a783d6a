package cli

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

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
	expectFinding(t, findings, "kafka", doctor.OK, "1 broker answers; Kafka ")
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

const literal, prefixed = kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLResourcePatternTypePrefixed

func allow(resource kmsg.ACLResourceType, pattern kmsg.ACLResourcePatternType, name string, ops ...kmsg.ACLOperation) (acls []kfake.ACL) {
	for _, op := range ops {
		acls = append(acls, kfake.ACL{Resource: resource, Name: name, Pattern: pattern, Operation: op, Allow: true})
	}
	return acls
}

// TestDoctorNamesTheRightsThatAreMissing gives a user some rights, and then those that the doctor names.
func TestDoctorNamesTheRightsThatAreMissing(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
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
		`kafka-acls.sh --bootstrap-server "$BROKERS" --add --allow-principal 'User:some' --operation Read --topic order-events`,
		`--operation Write --resource-pattern-type prefixed --topic orders.retry.`,
		`--operation Read --group orders`)
	findings = examine(t, exitFailed, file("all"), opts) // the retry topic that was seeded is not set up as it must be
	expectFinding(t, findings, "rights", doctor.OK, "")
	expectFinding(t, findings, "topics", doctor.Failed, "orders.retry.1m: ", "layby topics apply")
	expectNone(t, findings, "topics", doctor.OK)
}

// TestDoctorWithoutServers finds that nothing answers.
func TestDoctorWithoutServers(t *testing.T) {
	nowhere := []Option{environment{"LAYBY__KAFKA__BROKERS=127.0.0.1:1", "LAYBY__POSTGRES__URL=postgres://layby@127.0.0.1:1/layby"}}
	findings := examine(t, exitFailed, valid, nowhere)
	expectFinding(t, findings, "kafka", doctor.Failed, "no broker answers", "127.0.0.1:1 (kafka.brokers)")
	expectFinding(t, findings, "postgres", doctor.Failed, "it does not answer", "postgres.url")
}

// allowTopics has a user do with the topics what a consumer does, but for creating them.
func allowTopics() []kfake.ACL {
	return slices.Concat(
		allow(kmsg.ACLResourceTypeTopic, literal, "order-events", kmsg.ACLOperationRead, kmsg.ACLOperationDescribeConfigs),
		allow(kmsg.ACLResourceTypeTopic, prefixed, "orders.retry.", kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribeConfigs))
}

// loggedIn is a migrated database, brokers with a user and its rights, and a configuration with a tier.
func loggedIn(t *testing.T, topics []string, acls ...kfake.ACL) (file string, opts []Option) {
	t.Helper()
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t, kfake.SeedTopics(3, topics...), kfake.EnableSASL(), kfake.EnableACLs(), kfake.User("PLAIN", "it's", "secret", acls...))
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	file = valid + "    retry: {tiers: [1m]}\nkafka: {sasl: {mechanism: PLAIN, user: it's, password: secret}}\n"
	try(t, file, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	return file, opts
}

// expectNone looks that no finding of a check has a status.
func expectNone(t *testing.T, findings []doctor.Finding, check string, status doctor.Status) {
	t.Helper()
	for _, f := range findings {
		if f.Check == check && f.Status == status {
			t.Errorf("%+v", f)
		}
	}
}

// TestDoctorWithoutAnyRightOnTheGroup has a user who may not even describe the group.
func TestDoctorWithoutAnyRightOnTheGroup(t *testing.T) {
	file, opts := loggedIn(t, []string{"order-events", "orders.retry.1m"}, allowTopics()...)
	findings := examine(t, exitFailed, file, opts)
	expectFinding(t, findings, "rights", doctor.Failed, "2 rights are missing",
		`--add --allow-principal 'User:it'\''s' --operation Read --operation Describe --group orders`)
	expectNone(t, findings, "rights", doctor.OK)
}

// TestDoctorChecksThatRetryTopicsCanBeCreated has retry topics that are not there and that the user may not create.
func TestDoctorChecksThatRetryTopicsCanBeCreated(t *testing.T) {
	group := allow(kmsg.ACLResourceTypeGroup, literal, "orders", kmsg.ACLOperationRead)
	file, opts := loggedIn(t, []string{"order-events"}, slices.Concat(group, allowTopics()[:2],
		allow(kmsg.ACLResourceTypeTopic, prefixed, "orders.retry.", kmsg.ACLOperationDescribe))...)
	findings := examine(t, exitFailed, file, opts)
	expectFinding(t, findings, "rights", doctor.Failed, "4 rights are missing; the retry topics are not there, and may not be created",
		"--operation Create --operation Read --operation Write --operation DescribeConfigs --resource-pattern-type prefixed --topic orders.retry.",
		"layby topics plan --commands")

	file, opts = loggedIn(t, []string{"order-events"}, slices.Concat(group, allowTopics(),
		allow(kmsg.ACLResourceTypeTopic, prefixed, "orders.retry.", kmsg.ACLOperationCreate))...)
	findings = examine(t, exitDone, file, opts)
	expectFinding(t, findings, "rights", doctor.OK, "")
	if r := try(t, file, opts, "topics", "plan"); !strings.Contains(r.stdout, "create") {
		t.Errorf("the doctor has created a topic: %s", r.stdout)
	}
}

// TestDoctorWithBrokersThatDoNotTellRights has brokers that leave out what may be done, as those without such a notion do.
func TestDoctorWithBrokersThatDoNotTellRights(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "order-events"))
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	brokers.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		brokers.KeepControl()
		if m, ok := req.(*kmsg.MetadataRequest); ok {
			m.IncludeTopicAuthorizedOperations = false // so it answers the smallest number, as it must
		}
		return nil, nil, false
	})
	findings := examine(t, exitDone, valid, opts)
	expectFinding(t, findings, "rights", doctor.Skipped, "the brokers don't say what may be done with order-events")
	expectNone(t, findings, "rights", doctor.OK)
	if r := try(t, valid, opts, "doctor"); strings.Contains(r.stdout, "kafka-acls.sh") {
		t.Error(r.stdout)
	}
}

// TestDoctorIsNotContentWithSettingsItHasNotSeen has brokers that refuse the settings of each topic.
func TestDoctorIsNotContentWithSettingsItHasNotSeen(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "order-events"))
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	brokers.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		brokers.KeepControl()
		d, _ := req.(*kmsg.DescribeConfigsRequest)
		resp, _ := d.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, r := range d.Resources {
			refused := kmsg.NewDescribeConfigsResponseResource()
			refused.ResourceName, refused.ResourceType, refused.ErrorCode = r.ResourceName, r.ResourceType, kerr.TopicAuthorizationFailed.Code
			resp.Resources = append(resp.Resources, refused)
		}
		return resp, nil, true
	})
	findings := examine(t, exitFailed, valid, opts)
	expectFinding(t, findings, "safety", doctor.Skipped, "order-events (TOPIC_AUTHORIZATION_FAILED")
	expectNone(t, findings, "safety", doctor.OK)
	expectFinding(t, findings, "topics", doctor.Failed, "describe the configs of topics: TOPIC_AUTHORIZATION_FAILED", "Describe and DescribeConfigs")
	expectNone(t, findings, "topics", doctor.OK)
}

// TestDoctorOfATopicThatIsNotThere has no source topic: nothing of it is well.
func TestDoctorOfATopicThatIsNotThere(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t)
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	findings := examine(t, exitFailed, valid, opts)
	expectFinding(t, findings, "topics", doctor.Failed, "source topic order-events does not exist", "create it")
	expectFinding(t, findings, "safety", doctor.Skipped, "order-events (not there yet)")
	expectNone(t, findings, "safety", doctor.OK)
	expectNone(t, findings, "topics", doctor.OK)
}

// TestDoctorFindsTooFewReplicas has topics with fewer replicas than must be in sync.
func TestDoctorFindsTooFewReplicas(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "order-events"), kfake.BrokerConfigs(map[string]string{"min.insync.replicas": "2"}))
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	expectFinding(t, examine(t, exitFailed, valid, opts), "safety", doctor.Failed,
		"order-events has 1 replica, and min.insync.replicas is 2: nothing can be written to it", "three replicas")
}

// TestDoctorRefusesAnOldKafka has brokers of Kafka 2.8.
func TestDoctorRefusesAnOldKafka(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "order-events"), kfake.MaxVersions(kversion.V2_8_0()))
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	expectFinding(t, examine(t, exitFailed, valid, opts), "kafka", doctor.Failed, "Layby needs Kafka 3.0 or later", "upgrade the brokers")
}

// TestDoctorSaysWhatToDoAboutTheSchema has one that a newer program migrated.
func TestDoctorSaysWhatToDoAboutTheSchema(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS=127.0.0.1:1")
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	var table string
	if err := pool.QueryRow(t.Context(), "select table_name from information_schema.columns where table_schema = $1 and column_name = 'version_id'", schema).
		Scan(&table); err != nil {
		t.Fatal(err)
	}
	runSQL(t, pool, schema, "create or replace function understood_from() returns integer language sql immutable as 'select 99'",
		"insert into "+table+" (version_id, is_applied) values (99, true)")
	findings := examine(t, exitFailed, valid, opts)
	expectFinding(t, findings, "schema", doctor.Failed, "is newer than this version", "run a newer layby")
	for _, f := range findings {
		if slices.Contains(f.Do, "layby migrate up") {
			t.Errorf("%+v", f)
		}
	}
}

// TestDoctorAsksForEachRightInPostgres has a user with some of the rights, with all, and without any.
func TestDoctorAsksForEachRightInPostgres(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS=127.0.0.1:1")
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	user := schema + "_weak"
	runSQL(t, pool, schema, "create role "+user+" login", "grant usage on schema "+schema+" to "+user, "grant select on all tables in schema "+schema+" to "+user,
		"grant insert on parked_events, dead_letters to "+user)
	t.Cleanup(func() {
		if _, err := pool.Exec(context.Background(), "drop owned by "+user+"; drop role "+user); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(pool.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(user)
	weak := []Option{environment{"LAYBY__KAFKA__BROKERS=127.0.0.1:1", "LAYBY__POSTGRES__SCHEMA=" + schema, "LAYBY__POSTGRES__URL=" + u.String()}}
	grant := "grant " + schema + `_app to "` + user + `";`
	findings := examine(t, exitFailed, valid, weak)
	for _, right := range []string{
		"delete on parked_events", "update on parked_events", "update on dead_letters", "update (clean) on partitions", "execute on take_partition",
		"execute on fence", "execute on execute_commands", "insert on closed_gates",
	} {
		expectFinding(t, findings, "roles", doctor.Failed, right, grant)
	}
	runSQL(t, pool, schema, grant)
	expectFinding(t, examine(t, exitFailed, valid, weak), "roles", doctor.OK, user)
	for _, right := range []string{"delete on parked_events", "execute on function set_cut"} {
		runSQL(t, pool, schema, "revoke "+right+" from "+schema+"_app")
		expectFinding(t, examine(t, exitFailed, valid, weak), "roles", doctor.Failed, strings.Replace(right, "function ", "", 1), grant)
	}
	runSQL(t, pool, schema, "revoke "+schema+"_app from "+user, "revoke usage on schema "+schema+" from "+user)
	expectFinding(t, examine(t, exitFailed, valid, weak), "schema", doctor.Failed, "permission denied for schema", grant)
}

// TestDoctorTellsWhatIsWrongWithTheTopics has source topics that differ, and brokers that don't say.
func TestDoctorTellsWhatIsWrongWithTheTopics(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "order-events"), kfake.SeedTopics(2, "others"))
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	differ := strings.Replace(valid, "[order-events]", "[order-events, others]", 1)
	findings := examine(t, exitFailed, differ, opts)
	expectFinding(t, findings, "topics", doctor.Failed, "equal partition counts", "layby topics grow")
	expectNone(t, findings, "topics", doctor.OK)

	brokers.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		brokers.KeepControl()
		d, _ := req.(*kmsg.DescribeConfigsRequest)
		resp, _ := d.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, r := range d.Resources {
			broken := kmsg.NewDescribeConfigsResponseResource()
			broken.ResourceName, broken.ResourceType, broken.ErrorCode = r.ResourceName, r.ResourceType, kerr.UnknownServerError.Code
			resp.Resources = append(resp.Resources, broken)
		}
		return resp, nil, true
	})
	findings = examine(t, exitDone, valid, opts)
	expectFinding(t, findings, "topics", doctor.Skipped, "not known: ")
	expectFinding(t, findings, "safety", doctor.Skipped, "order-events (UNKNOWN_SERVER_ERROR")
}

// TestDoctorTriesTheReplicationOfRetryTopics has a configuration that asks for more replicas than there are brokers.
func TestDoctorTriesTheReplicationOfRetryTopics(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "order-events"))
	opts = besides(t, opts, "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ","))
	try(t, valid, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	expectFinding(t, examine(t, exitFailed, valid+"    topic_replication: 3\n", opts), "topics", doctor.Failed,
		"orders.retry.1m can't be created: INVALID_REPLICATION_FACTOR", "topic_replication")
}
