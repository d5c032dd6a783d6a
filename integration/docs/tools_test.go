package docs

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/cli"
)

// rootEnv tells the tools where the repository is.
const rootEnv = "LAYBY_TEST_ROOT"

// tools are the programs that the pages' commands call and that this test is itself: Layby; Kafka's own tools, with the flags
// that the pages give them, since the Kafka of a test may be jars without them; and what would go beyond a test.
var tools map[string]func(args []string)

func init() { // not in its declaration: docker calls the others
	tools = map[string]func(args []string){
		"layby":                     func([]string) { cli.Main() },
		"kafka-topics.sh":           kafkaTopics,
		"kafka-console-producer.sh": kafkaProducer,
		"kafka-consumer-groups.sh":  kafkaGroups,
		"docker":                    docker,
		"make":                      makeTarget,
	}
}

// end ends a tool that failed.
func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func client(brokers string) *kgo.Client {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	end(err)
	return cl
}

func kafkaTopics(args []string) {
	flags := flag.NewFlagSet("kafka-topics.sh", flag.ExitOnError)
	brokers, topic := flags.String("bootstrap-server", "", ""), flags.String("topic", "", "")
	partitions, create, remove := flags.Int("partitions", 0, ""), flags.Bool("create", false, ""), flags.Bool("delete", false, "")
	_ = flags.Parse(args)
	cl := client(*brokers)
	defer cl.Close()
	adm := kadm.NewClient(cl)
	switch {
	case *create:
		_, err := adm.CreateTopic(context.Background(), int32(*partitions), 1, nil, *topic) //nolint:gosec // a few
		end(err)
		fmt.Printf("Created topic %s.\n", *topic)
	case *remove: // as Kafka's tool does, the name is a pattern of the whole
		topics, err := adm.ListTopics(context.Background())
		end(err)
		names := slices.DeleteFunc(topics.Names(), func(name string) bool { return !regexp.MustCompile("^(" + *topic + ")$").MatchString(name) })
		if len(names) == 0 {
			end(fmt.Errorf("kafka-topics.sh: there is no topic %s", *topic))
		}
		_, err = adm.DeleteTopics(context.Background(), names...)
		end(err)
	default:
		end(errors.New("kafka-topics.sh: only --create and --delete are known here"))
	}
}

func kafkaGroups(args []string) {
	flags := flag.NewFlagSet("kafka-consumer-groups.sh", flag.ExitOnError)
	brokers, group := flags.String("bootstrap-server", "", ""), flags.String("group", "", "")
	remove := flags.Bool("delete", false, "")
	_ = flags.Parse(args)
	if !*remove {
		end(errors.New("kafka-consumer-groups.sh: only --delete is known here"))
	}
	cl := client(*brokers)
	defer cl.Close()
	deleted, err := kadm.NewClient(cl).DeleteGroup(context.Background(), *group)
	end(errors.Join(err, deleted.Err))
	fmt.Printf("Deletion of requested consumer groups ('%s') was successful.\n", *group)
}

// properties are the settings of a flag that is given more than once.
type properties map[string]string

func (p properties) String() string { return "" }

func (p properties) Set(text string) error {
	key, value, _ := strings.Cut(text, "=")
	p[key] = value
	return nil
}

func kafkaProducer(args []string) {
	flags := flag.NewFlagSet("kafka-console-producer.sh", flag.ExitOnError)
	brokers, topic, set := flags.String("bootstrap-server", "", ""), flags.String("topic", "", ""), properties{}
	flags.Var(set, "property", "")
	_ = flags.Parse(args)
	if set["parse.key"] != "true" || set["key.separator"] == "" {
		end(fmt.Errorf("kafka-console-producer.sh: the pages give each event a key, not %v", set))
	}
	in, err := io.ReadAll(os.Stdin)
	end(err)
	cl := client(*brokers)
	defer cl.Close()
	for line := range strings.Lines(string(in)) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), set["key.separator"])
		if !ok {
			end(fmt.Errorf("kafka-console-producer.sh: no key in %q", line))
		}
		end(cl.ProduceSync(context.Background(), &kgo.Record{Topic: *topic, Key: []byte(key), Value: []byte(value)}).FirstErr())
	}
}

// docker starts nothing: the servers are there. It checks what it is asked to start, and runs commands beside itself.
func docker(args []string) {
	doc, err := os.ReadFile(path.Join(os.Getenv(rootEnv), "integration/stack/doc.go"))
	end(err)
	switch image := args[len(args)-1]; args[0] {
	case "run":
		if !strings.Contains(string(doc), image) {
			end(fmt.Errorf("docker run: the tests use another image than %s", image))
		}
	case "rm":
	case "exec":
		args = args[1:]
		for strings.HasPrefix(args[0], "-") {
			args = args[1:]
		}
		cmd := exec.Command(path.Base(args[1]), args[2:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		end(cmd.Run())
	default:
		end(fmt.Errorf("docker %s is not known here", args[0]))
	}
}

// makeTarget says what make would do, and fails where there is no such target.
func makeTarget(args []string) {
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/local/bin"} {
		if _, err := os.Stat(path.Join(dir, "make")); err == nil {
			cmd := exec.Command(path.Join(dir, "make"), append([]string{"-C", os.Getenv(rootEnv), "--dry-run", "--no-print-directory"}, args...)...)
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			end(cmd.Run())
			return
		}
	}
	end(errors.New("this test needs make"))
}

// freePort is a port of the loopback address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
