// Package cli is the command line of Layby: everything that bin/layby can do, for a program with handlers of its own.
//
//	func main() {
//		cli.Main(cli.Handlers{"picking": layby.HandlerFunc(pick)})
//	}
//
// A route names such a handler: {type: order.picked, handler: picking}.
//
// Every command ends with 0 (done), 1 (failed), 2 (usage or configuration), 3 (not found) or 4 (conflict). What a
// command was asked for goes to standard output; logs, warnings and the one message of an error go to standard error.
package cli
