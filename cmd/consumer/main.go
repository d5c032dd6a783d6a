// Command consumer is bin/layby: the consumer of the configuration file, with webhooks as its handlers.
package main

import "github.com/layby-go/layby/cli"

// version is set by the linker.
var version string

func main() {
	if version == "" {
		cli.Main()
	}
	cli.Main(cli.Version(version))
}
