package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
)

// TestOperationsNameEveryCommand: README sends there for them.
func TestOperationsNameEveryCommand(t *testing.T) {
	_, table, ok := strings.Cut(string(readFile(t, "../../docs/operations.md")), "\n## Commands\n")
	if !ok {
		t.Fatal("docs/operations.md has no list of commands")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	for _, v := range verbs {
		if !regexp.MustCompile("`(relay )?" + v.name + "[ `]").MatchString(table[strings.Index(table, "\n| "):]) {
			t.Errorf("docs/operations.md does not name relay %s", v.name)
		}
	}
}

// TestEveryCommandTakesTheConfigurationOfTheEnvironment: as docs/operations.md has it.
func TestEveryCommandTakesTheConfigurationOfTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "of-the-environment.toml")
	t.Setenv(cli.ConfigEnv, file)
	for _, line := range []string{
		"serve", "status", "health", "reload", "token list", "audit list", "audit verify", "check", "dkim rotate example.org", "explain ID", "find -to a@example.net",
		"incident a@example.org -since 1d", "alert list", "listings", "listings suspects", "outliers replay", "outliers explain a@example.org", "outliers measure", "outliers backtest j",
		"backoff list", "warmup", "mx example.net", "tls", "firewall", "oauth login provider", "suppressions list", "limits show", "console", "senders", "suspend a@example.org -reason stolen",
		"release a@example.org", "simulate", "scan m.eml", "suggest", "replies top", "replies unknown",
	} {
		if status, _, errs := runVerb("", strings.Fields(line)...); status == cli.OK || !strings.Contains(errs, file) {
			t.Errorf("relay %s: status %d, %s", line, status, errs)
		}
	}
}

// TestDocsNameOnlyCommandsThatExist: a command in code quotes, or at the start
// of an indented line, is one that an operator will type.
func TestDocsNameOnlyCommandsThatExist(t *testing.T) {
	known := []string{"help"}
	for _, v := range verbs {
		known = append(known, v.name)
	}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	examples, err := filepath.Glob("../../examples/*.*")
	if err != nil {
		t.Fatal(err)
	}
	files = append(append(files, examples...), "../../README.md", "../../config.example.toml")
	command := regexp.MustCompile("(?m)(?:[`\"]|^(?:#  )?   )(?:\\./|/usr/local/bin/)?relay ([a-z][a-z-]*)[ `\",\n]")
	found := 0
	for _, file := range files {
		for _, m := range command.FindAllStringSubmatch(string(readFile(t, file)), -1) {
			found++
			if !slices.Contains(known, m[1]) {
				t.Errorf("%s: there is no command %q", file, "relay "+m[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("found only %d commands in the docs", found)
	}
}
