package docs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/layby-go/layby/cli"
)

// afterGrace is how long a stop may take after shutdown_grace: letting go, the pool, leaving, the listener.
const afterGrace = 13 * time.Second

// image checks a Dockerfile without Docker: its program can be built as it says, and runs the command that it says.
func image(t *testing.T, b *block) {
	t.Helper()
	build := regexp.MustCompile(`(?m)^RUN CGO_ENABLED=0 (go build .*)$`).FindStringSubmatch(b.text)
	if build == nil {
		t.Fatalf("no build in\n%s", b.text)
	}
	words := strings.Fields(build[1])
	tool(t, root, 0, words[0], append([]string{"build", "-n"}, words[2:]...)...)
	out := words[slices.Index(words, "-o")+1]
	for _, need := range []string{"COPY --from=build " + out + " " + out + "\n", `ENTRYPOINT ["` + out + `"]`} {
		if !strings.Contains(b.text, need) {
			t.Errorf("no %q in\n%s", need, b.text)
		}
	}
	version := regexp.MustCompile(`golang:(\S+)`).FindStringSubmatch(b.text)[1]
	if module, err := os.ReadFile(filepath.Join(root, "go.mod")); err != nil || !strings.Contains(string(module), "\ngo "+version) {
		t.Errorf("go.mod wants another Go than %s, %v", version, err)
	}
	var args []string
	if err := json.Unmarshal([]byte(strings.Join(regexp.MustCompile(`(?m)^CMD (.*)$`).FindStringSubmatch(b.text)[1:], "")), &args); err != nil {
		t.Fatal(err)
	}
	takesArgs(t, args)
}

// takesArgs says whether the program takes a command line, with a configuration that can't be there.
func takesArgs(t *testing.T, args []string) {
	t.Helper()
	i := slices.Index(args, "-c") + 1
	if i == 0 || !path.IsAbs(args[i]) {
		t.Fatalf("no configuration in %v", args)
	}
	var problem strings.Builder
	cli.Run(t.Context(), args, strings.NewReader(""), io.Discard, &problem)
	if !strings.Contains(problem.String(), args[i]+": there is no such file") {
		t.Errorf("%v: %s", args, problem.String())
	}
}

// manifest is what is looked at of the objects of Kubernetes.
type manifest struct {
	Kind string
	Data map[string]string
	Spec struct {
		Replicas int
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     pod
		}
	}
}

type pod struct {
	Grace    int `yaml:"terminationGracePeriodSeconds"`
	Security struct {
		RunAsNonRoot bool `yaml:"runAsNonRoot"`
	} `yaml:"securityContext"`
	Volumes        []struct{ Name string }
	InitContainers []container `yaml:"initContainers"`
	Containers     []container
}

type container struct {
	Args  []string
	Env   []struct{ Name, Value string }
	Ports []struct {
		ContainerPort int `yaml:"containerPort"`
	}
	Liveness  probe `yaml:"livenessProbe"`
	Readiness probe `yaml:"readinessProbe"`
	Resources struct{ Limits map[string]string }
	Mounts    []struct {
		Name string
		Path string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	Get struct {
		Path string
		Port int
	} `yaml:"httpGet"`
}

// kubernetes checks the page's objects against each other and against the program.
func kubernetes(t *testing.T, b *block) {
	t.Helper()
	var objects []manifest
	for d := yaml.NewDecoder(strings.NewReader(b.text)); ; {
		var m manifest
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, m)
	}
	if len(objects) != 2 || objects[0].Kind != "ConfigMap" || objects[1].Kind != "Deployment" {
		t.Fatalf("%+v", objects)
	}
	spec := objects[1].Spec
	p := spec.Template.Spec
	mounted := func(path string) string {
		return strings.ReplaceAll(path, p.Containers[0].Mounts[1].Path, secrets(t, "url", "owner-url"))
	}
	config := mounted(objects[0].Data["layby.yaml"])
	valid(t, config, nil)
	if spec.Replicas < 2 || spec.Selector.MatchLabels["app"] == "" || spec.Selector.MatchLabels["app"] != spec.Template.Metadata.Labels["app"] {
		t.Errorf("%+v", spec)
	}
	stopsInTime(t, config, time.Duration(p.Grace)*time.Second)
	if !p.Security.RunAsNonRoot || p.Containers[0].Resources.Limits["memory"] == "" {
		t.Errorf("%+v", p)
	}
	for _, c := range append(p.InitContainers, p.Containers...) {
		takesArgs(t, c.Args)
		at := c.Args[slices.Index(c.Args, "-c")+1]
		if len(c.Mounts) != 2 || path.Dir(at) != c.Mounts[0].Path || path.Base(at) != "layby.yaml" || len(p.Volumes) != 2 {
			t.Errorf("the configuration is not mounted: %+v", c)
		}
		for _, e := range c.Env {
			overrides(t, config, e.Name, mounted(e.Value))
			if path.Dir(e.Value) != c.Mounts[1].Path {
				t.Errorf("%s is not mounted", e.Value)
			}
		}
	}
	c := p.Containers[0]
	for want, got := range map[string]probe{"/livez": c.Liveness, "/readyz": c.Readiness} {
		if got.Get.Path != want || got.Get.Port != 8080 || c.Ports[0].ContainerPort != 8080 || !strings.Contains(config, `listen: "0.0.0.0:8080"`) {
			t.Errorf("%s is %+v", want, got)
		}
	}
}

// overrides says whether an environment variable changes the configuration.
func overrides(t *testing.T, config, name, value string) {
	t.Helper()
	t.Setenv(name, value)
	out := printed(t, config)
	if err := os.Unsetenv(name); err != nil { // for what comes after it in this test
		t.Fatal(err)
	}
	if !strings.Contains(out, value) {
		t.Errorf("%s=%s changes nothing:\n%s", name, value, out)
	}
}

// printed is a configuration with its defaults, as the program understands it.
func printed(t *testing.T, config string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "layby.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, problem bytes.Buffer
	if code := cli.Run(t.Context(), []string{"config", "print", "-c", file}, strings.NewReader(""), &out, &problem); code != 0 {
		t.Fatal(problem.String())
	}
	return out.String()
}

// stopsInTime says whether a member that stops has the time that it needs before it is killed.
func stopsInTime(t *testing.T, config string, until time.Duration) {
	t.Helper()
	m := regexp.MustCompile(`(?m)^shutdown_grace: (\S+)$`).FindStringSubmatch(printed(t, config))
	if m == nil {
		t.Fatal("no shutdown_grace is printed")
	}
	grace, err := time.ParseDuration(m[1])
	if err != nil || until < grace+afterGrace {
		t.Errorf("killed after %v, with a shutdown_grace of %s, %v", until, m[1], err)
	}
}

// unit checks a unit of systemd.
func unit(t *testing.T, b *block) {
	t.Helper()
	settings := map[string]string{}
	for line := range strings.Lines(b.text) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		if !ok && line != "" && !regexp.MustCompile(`^\[(Unit|Service|Install)\]$`).MatchString(line) {
			t.Errorf("%q is no line of a unit", line)
		}
		settings[key] = value
	}
	args := strings.Fields(settings["ExecStart"])
	takesArgs(t, args[1:])
	until, err := time.ParseDuration(settings["TimeoutStopSec"])
	if err != nil {
		t.Fatal(err)
	}
	minimal := "consumers: [{group: orders, topics: [order-events], handler_timeout: 5s, routes: [{type: '*', skip: true}]}]\n"
	stopsInTime(t, minimal, until)
	name, value, _ := strings.Cut(settings["Environment"], "=")
	credential, _, _ := strings.Cut(settings["LoadCredential"], ":")
	if value != "%d/"+credential {
		t.Errorf("the credential %s is not at %s", credential, value)
	}
	overrides(t, minimal, name, strings.ReplaceAll(value, "%d", secrets(t, credential)))
}

// secrets makes a directory with files of those names, each with a URL.
func secrets(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("postgres://layby@localhost/layby\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
