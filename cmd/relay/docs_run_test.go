package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/cmd/relay/cli"
	"postern/internal/smtptest"
)

// TestCommandsOfTheDocsAreUnderstood runs each command line of the pages with the
// configuration in the environment: none may be a misuse. Words that stand for
// others are filled in.
func TestCommandsOfTheDocsAreUnderstood(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "relay.toml"), basic(smtptest.Start(t, smtptest.Options{}), `
[limit.sender]
per = "sender"
messages = ["500/1h"]
`))
	p := startRelayIn(t, dir)
	p.address("mta")
	t.Setenv(cli.ConfigEnv, filepath.Join(dir, "relay.toml"))
	fill := strings.NewReplacer("/var/lib/postern/journal.jsonl", filepath.Join(dir, "journal.jsonl"), "/etc/postern/relay.toml", filepath.Join(dir, "relay.toml"))
	line := regexp.MustCompile("(?m)(?:^    (?:sudo -u \\S+ )?|`)(?:\\./|/usr/local/bin/)?relay ([a-z][^\n#|&>`]*)")
	placeholder := regexp.MustCompile(`\b[A-Z]{1,}\b|\.\.\.|[\[\]|<]`)
	whole := regexp.MustCompile(`@| -|^(status|senders|limits top|limits show|limits raises|listings|check)$`) // else only the name of a command
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, file := range append(files, "../../README.md") {
		for _, m := range line.FindAllStringSubmatch(string(readFile(t, file)), -1) {
			command := fill.Replace(strings.TrimSpace(m[1]))
			args := words(command)
			if !whole.MatchString(command) || placeholder.MatchString(command) || args[0] == "serve" || args[0] == "hash-password" || strings.Contains(command, ".toml") && !strings.Contains(command, dir) {
				continue
			}
			ran++
			status, _, errs := runVerb("", args...)
			// The names in the examples are not those of this relay.
			if status == cli.Usage && !regexp.MustCompile("no such file|no client owns|the configuration has no|is neither suspended|no limit |unknown to the watch|is no listing").MatchString(errs) {
				t.Errorf("%s: relay %s\n%s", filepath.Base(file), command, errs)
			}
		}
	}
	if ran < 15 {
		t.Errorf("ran only %d commands in the docs", ran)
	}
	t.Logf("%d commands", ran)
	p.stop()
}

// words splits a command as a shell would one without expansions.
func words(s string) (list []string) {
	for _, m := range regexp.MustCompile(`"([^"]*)"|'([^']*)'|(\S+)`).FindAllStringSubmatch(s, -1) {
		list = append(list, m[1]+m[2]+m[3])
	}
	return list
}
