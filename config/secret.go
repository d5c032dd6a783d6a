package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// ReadURL returns the connection URL. A url_file is read at each call.
func (p Postgres) ReadURL() (string, error) { return readSecret(p.URL, p.URLFile, "postgres.url_file") }

// ReadPassword returns the password. A password_file is read at each call.
func (s SASL) ReadPassword() (string, error) {
	return readSecret(s.Password, s.PasswordFile, "kafka.sasl.password_file")
}

func readSecret(value Secret, file, key string) (string, error) {
	if file == "" {
		return value.Reveal(), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", key, err)
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("read %s: %s: %w", key, file, errEmptyFile)
	}
	return secret, nil
}

var errEmptyFile = errors.New("the file is empty")
