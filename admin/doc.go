// Package admin is the HTTP API of the dead-letter store: find, understand, correct and replay what is dead, look at what is parked,
// follow operations, submit events, read the audit log. What it does is done by the functions of the schema, under the name of
// the token that asked. Its description, OpenAPI 3.1, is made from the code.
package admin
