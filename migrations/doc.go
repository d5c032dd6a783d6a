// Package migrations brings a Postgres schema up to what this version of Layby needs. The numbered SQL files are
// embedded and run by goose, whose version table lies in the same schema.
package migrations
