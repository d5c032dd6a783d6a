package kafkaproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/layby-go/layby/integration/stack/internal/proc"
)

// Version is the release of Apache Kafka that is run.
const Version = "4.4.0"

// jarSet changes with what pom asks for, so that an older cache is not taken for it.
const jarSet = "kafka-" + Version + "-jars1"

// pom asks for a broker and for a logger that prints its errors.
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>layby</groupId>
  <artifactId>kafka-jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>` + Version + `</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.25.5</version>
    </dependency>
  </dependencies>
</project>
`

// copyGoal is pinned, as the version that an older Maven takes by itself is from another age.
const copyGoal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

const install = "install it, for example: apt-get install openjdk-17-jre-headless maven"

// fetchJars returns the directory with the jars, which Maven fills at the first call on a machine.
func fetchJars(ctx context.Context, log io.Writer) (string, error) {
	cache, err := proc.CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, jarSet)
	err = proc.Once(ctx, dir, func(tmp string) error {
		mvn, err := exec.LookPath("mvn")
		if err != nil {
			return fmt.Errorf("the jars of Kafka are not in %s, and Maven, which fetches them, is not there: %s", dir, install)
		}
		fmt.Fprintf(log, "Fetching Kafka %s with Maven (45 MB, once)\n", Version)
		work, err := os.MkdirTemp("", "layby-kafka-jars-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		file := filepath.Join(work, "pom.xml")
		if err := os.WriteFile(file, []byte(pom), 0o600); err != nil {
			return err
		}
		return proc.Run(ctx, proc.Command{
			Path: mvn,
			Args: []string{"-q", "-B", "-f", file, copyGoal, "-DincludeScope=runtime", "-DoutputDirectory=" + tmp},
		})
	})
	if err != nil {
		return "", fmt.Errorf("fetch Kafka %s: %w", Version, err)
	}
	return dir, nil
}

// findJava returns the java command, which has to run: on some systems it is only a hint that none is installed.
func findJava(ctx context.Context) (string, error) {
	candidates := []string{"java"}
	if home := os.Getenv("JAVA_HOME"); home != "" {
		candidates = []string{filepath.Join(home, "bin", "java"), "java"}
	}
	var problems []error
	for _, c := range candidates {
		path, err := exec.LookPath(c)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
		if err != nil {
			problems = append(problems, fmt.Errorf("%s -version: %w: %s", path, err, strings.TrimSpace(string(out))))
			continue
		}
		return path, nil
	}
	return "", fmt.Errorf("no Java 17 or later: %s: %w", install, errors.Join(problems...))
}
