package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// healTimeout is how long after the replay everything may take to be healed.
const healTimeout = 40 * time.Second

// mend does what a person does about the dead letters: it looks at them in groups, has the causes put right, corrects the events
// that were wrong, runs all of them again, and waits until they are healed. Each step is a command or a statement that anybody could
// type; all are shown with what they answered.
func (d *demo) mend(ctx context.Context) error {
	groups, err := d.database.letterGroups(ctx)
	if err != nil || len(groups) == 0 {
		return err
	}
	d.screen.say("A person takes over: what time can't heal is in the dead-letter store")
	if err := d.command(ctx, "dls", "groups"); err != nil {
		return err
	}
	d.services.mend()
	for _, g := range groups {
		what, sql := g.correction()
		d.screen.print(fmt.Sprintf("\n%s of %s: %s.\n", g.Class, g.Consumer, what))
		if sql == "" {
			continue
		}
		if err := d.statement(ctx, sql); err != nil {
			return err
		}
	}
	d.screen.print("\nWhat would a replay of all of them do?\n")
	open := []string{"dls", "replay", "--state", "dead,awaiting correction"}
	if err := d.command(ctx, append(open, "--dry-run")...); err != nil {
		return err
	}
	d.screen.print("\nThen all of them run again, each before the events that it held.\n")
	if err := d.command(ctx, append(open, "--reason", "corrected", "--yes")...); err != nil {
		return err
	}
	d.screen.print("\n")
	err = d.settle(ctx, healTimeout, func(now look) bool { return now.Dead == 0 && now.Held == 0 })
	if err == nil {
		d.screen.print("\n")
		err = errors.Join(d.command(ctx, "op", "list"), d.command(ctx, "dls", "groups", "--all"))
	}
	return err
}

// command runs this program as a person would, and shows what it prints.
func (d *demo) command(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, d.opts.Executable, append(args, "-c", d.configPath)...)
	cmd.Env = withoutOverrides(os.Environ())
	out, err := cmd.CombinedOutput()
	line := "layby"
	for _, arg := range args {
		if strings.Contains(arg, " ") {
			arg = "'" + arg + "'"
		}
		line += " " + arg
	}
	if err != nil {
		return fmt.Errorf("%s: %w:\n%s", line, errors.Join(err, ctx.Err()), out)
	}
	d.screen.print("\n$ " + line + "\n" + string(out))
	return nil
}

// statement runs SQL as a person would, and shows how many rows it answered with.
func (d *demo) statement(ctx context.Context, sql string) error {
	tag, err := d.database.pool.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	d.screen.print(fmt.Sprintf("\nlayby=# %s;\n(%s)\n", sql, plural(int(tag.RowsAffected()), "row")))
	return nil
}

// correction is what a person does about a group of dead letters, and the SQL that corrects them; none where nothing is wrong with
// the events.
func (g *letterGroup) correction() (what, sql string) {
	of := fmt.Sprintf("consumer = '%s' and error_class = '%s' and %s", g.Consumer, strings.ReplaceAll(g.Class, "'", "''"), deadSQL)
	switch g.Class {
	case "CardRefused":
		return "the customers are asked, and give other cards", `select layby.amend(id, jsonb_set(layby.as_json(value), '{card}', to_jsonb('` + newCard + `' || id)), 'the customer gave another card')
  from layby.dead_letters where ` + of
	case "InvalidOrder":
		return "whoever wrote these sends what was meant", `select layby.amend(d.id, m.value, 'what was meant')
  from layby.dead_letters d join demo.meant m on m.order_id = d.resource_text where ` + of
	case "MissingWeight":
		return "the goods are weighed", `select layby.amend(id, jsonb_set(layby.as_json(value), '{lines,-1,weight_grams}', '400'), 'weighed')
  from layby.dead_letters where ` + of
	}
	return "the warehouse is told of them, and takes them from now on", ""
}

// replaySQL runs everything again that is dead.
const replaySQL = "select layby.replay(id, 'corrected') from layby.dead_letters where " + deadSQL
