package migrations

import (
	"fmt"
	"regexp"
	"strings"
)

// placeholder stands for the schema's name in SQL.
const placeholder = "{{schema}}"

// schemaName leaves room for what is appended to the name (roles, the notification channel) in Postgres' 63 bytes.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// ValidateSchema says what is wrong with a schema's name, if anything is.
func ValidateSchema(name string) error {
	switch {
	case !schemaName.MatchString(name):
		return fmt.Errorf("postgres.schema: %q is not a usable name: take up to 40 of a-z, 0-9 and _, not beginning with a digit", name)
	case strings.HasPrefix(name, "pg_"), name == "information_schema":
		return fmt.Errorf("postgres.schema: %q belongs to Postgres: take another name", name)
	case name == "public":
		return fmt.Errorf("postgres.schema: %q is shared: give Layby a schema of its own", name)
	}
	return nil
}

// Render puts the schema's name, which must be valid, in place of every {{schema}} in an SQL text.
func Render(sql, schema string) string { return strings.ReplaceAll(sql, placeholder, schema) }

// Channel is the notification channel on which new commands are announced.
func Channel(schema string) string { return schema + "_commands" }

// Roles are the names of the roles that belong to a schema: for the consumer, for people who look, and for people who
// act.
func Roles(schema string) []string {
	return []string{schema + "_app", schema + "_viewer", schema + "_operator"}
}
