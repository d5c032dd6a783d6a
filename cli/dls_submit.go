package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/dls"
)

// submitFlags say which event runs.
type submitFlags struct {
	of        dls.Submission
	by        dls.By
	key, file string
	null      bool
	headers   []string
	partition int32
	offset    int64
	wait      bool
	output    *format
	cmd       *cobra.Command
}

func (a *app) dlsSubmit() *cobra.Command {
	cmd := &cobra.Command{
		Use: "submit", Short: "Have a consumer run an event that is in no topic, or a copy of a record", Args: cobra.NoArgs,
		Long: "Submit has a consumer run an event: new bytes, or, with --offset, a copy of the record at a source position. It is run by the\n" +
			"owner of its partition, behind what its resource has waiting, and goes the way of all events: it is retried when it fails, and\n" +
			"dies when nothing helps.\n\n" +
			"The partition is the one in which the consumer has the key's resource already, else the one that Kafka's default partitioner\n" +
			"gives the key.",
		Example: "  layby dls submit --consumer orders --key order-17 --header type=order.paid --file paid.json --reason 'lost by the shop'\n" +
			"  layby dls submit --consumer orders --topic order-events --partition 3 --offset 120017 --reason 'invoice was lost' --wait",
	}
	f := &submitFlags{output: outputFlag(cmd), cmd: cmd}
	flags := cmd.Flags()
	flags.StringVar(&f.of.Consumer, "consumer", "", "the consumer (its group); needed when the configuration has several")
	flags.StringVar(&f.key, "key", "", "the key (default: none)")
	flags.StringVar(&f.file, "file", "", "the value is in this file, exactly; - is standard input")
	flags.BoolVar(&f.null, "null", false, "the event has no value")
	flags.StringArrayVar(&f.headers, "header", nil, "a header, as type=order.paid; can be repeated")
	flags.StringVar(&f.of.Topic, "topic", "", "the topic that it is said to come from, or that a copy is made of (default: the consumer's first)")
	flags.Int32Var(&f.partition, "partition", 0, "the partition (default: that of the key)")
	flags.Int64Var(&f.offset, "offset", 0, "run a copy of the record at this offset of --topic and --partition")
	flags.StringVar(&f.by.Reason, "reason", "", "why, for the audit log")
	flags.BoolVar(&f.wait, "wait", false, "wait until the command is executed; the event itself runs in its turn")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		if f.file != "" {
			value, err := a.readAll(f.file)
			if err != nil {
				return err
			}
			f.of.Value = append([]byte{}, value...)
		}
		return a.withStore(cmd, func(cfg *config.Config, store *dls.Store) error { return a.submit(cfg, store, f) })
	})
	return cmd
}

// check reads the flags, and says what does not go together.
func (f *submitFlags) check() error {
	given := f.cmd.Flags().Changed
	f.by.Actor = actor()
	switch {
	case strings.TrimSpace(f.by.Reason) == "":
		return usagef("why? Write --reason: it goes into the audit log")
	case given("offset") && (given("key") || given("file") || given("header") || f.null):
		return usagef("--offset has key, value and headers from the record: leave out --key, --file, --null and --header")
	case given("offset") && !given("partition"):
		return usagef("--offset of which partition? Write --partition")
	case given("offset"):
		return nil
	case (f.file == "") == !f.null:
		return usagef("which value? Write --file, or --null for none, or --offset for a copy of a record")
	}
	if given("key") {
		f.of.Key = []byte(f.key)
	}
	if given("partition") {
		f.of.Partition = &f.partition
	}
	for _, text := range f.headers {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return usagef("--header: %q is no header with its value: write it as type=order.paid", text)
		}
		f.of.Headers = append(f.of.Headers, layby.Header{Key: name, Value: []byte(value)})
	}
	return nil
}

func (a *app) submit(cfg *config.Config, store *dls.Store, f *submitFlags) error {
	ctx := f.cmd.Context()
	c, err := onlyConsumer(cfg)
	if f.of.Consumer != "" {
		c, err = findConsumer(cfg, f.of.Consumer)
	}
	if err != nil {
		return err
	}
	f.of.Consumer = c.Group
	v := &askedView{Act: "submit"}
	var command *dls.Command
	if f.cmd.Flags().Changed("offset") {
		topic := f.of.Topic
		if topic == "" {
			topic = c.Topics[0]
		}
		v.text = fmt.Sprintf("a copy of %s/%d@%d is submitted to %s", printable(topic), f.partition, f.offset, c.Group)
		command, err = store.SubmitCopy(ctx, f.by, c.Group, topic, f.partition, f.offset)
	} else {
		v.text = fmt.Sprintf("an event of %d bytes is submitted to %s", len(f.of.Value), c.Group)
		command, err = store.Submit(ctx, f.by, f.of)
	}
	if err != nil {
		return err
	}
	v.Operation, v.Command = command.Operation, command.ID
	return a.afterAsking(ctx, cfg, store, v, *f.output, f.wait)
}
