package check

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"postern/internal/text"
	"postern/reputation/identity"
)

// The protocols of scanners do not tell their time-outs. Where one is on this
// machine and its configuration can be read, they are compared with ours: each has
// to end before the one that waits for it.

// nesting holds the time-outs of a scanner on this machine against ours.
func (v *scannerView) nesting(ctx context.Context) {
	switch c := &v.x.Config; {
	case c.Clamd != "":
		v.clamdLimits(readClamd(clamdConf, c.Clamd))
	case c.Rspamd != "" && isLocal(c.Rspamd):
		v.rspamdLimits(askRspamadm(ctx))
	}
}

// clamdConf is where Debian and others keep the configuration of clamd.
const clamdConf = "/etc/clamav/clamd.conf"

// readClamd reads the settings of the clamd that listens on an address; nil where
// they cannot be read or are those of another one.
func readClamd(path, address string) map[string]string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	settings := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), " "); ok && !strings.HasPrefix(key, "#") {
			settings[key] = strings.TrimSpace(value)
		}
	}
	socket, local := strings.CutPrefix(address, "unix:")
	if local {
		if samePath(settings["LocalSocket"], socket) {
			return settings
		}
		return nil
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(address, "tcp:"))
	if err != nil || !text.IsLoopback(host) || settings["TCPSocket"] != port {
		return nil
	}
	return settings
}

// samePath reports whether two paths are those of one file, such as below /run and
// /var/run.
func samePath(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return a == b
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// clamdScanTime is MaxScanTime of clamd where its configuration has none.
const clamdScanTime = 120 * time.Second

func (v *scannerView) clamdLimits(settings map[string]string) {
	const asked = "time-outs"
	if settings == nil {
		v.add(identity.Pass, asked, "its time-outs are not known: its configuration cannot be read from here", "")
		return
	}
	c, limit := &v.x.Config, clamdScanTime
	if n, err := strconv.ParseUint(settings["MaxScanTime"], 10, 31); err == nil {
		limit = time.Duration(n) * time.Millisecond
	}
	if limit == 0 || limit >= c.Timeout {
		v.add(identity.Warn, asked, fmt.Sprintf("MaxScanTime %s is not below timeout = %s: it works on for nobody", limit, c.Timeout),
			fmt.Sprintf("set MaxScanTime %d in %s, with AlertExceedsMax yes", (c.Timeout*3/4).Milliseconds(), clamdConf))
	} else {
		v.add(identity.Pass, asked, fmt.Sprintf("MaxScanTime %s below timeout = %s", limit, c.Timeout), "")
	}
	if n, err := strconv.Atoi(settings["MaxThreads"]); err == nil && n < c.Concurrency {
		v.add(identity.Warn, "MaxThreads", fmt.Sprintf("MaxThreads %d, and concurrency = %d", n, c.Concurrency), fmt.Sprintf("set concurrency = %d or less, or raise MaxThreads", n))
	}
	if strings.EqualFold(settings["ConcurrentDatabaseReload"], "no") || strings.EqualFold(settings["ConcurrentDatabaseReload"], "false") {
		v.add(identity.Warn, "ConcurrentDatabaseReload", "ConcurrentDatabaseReload no: nothing is scanned while it reads a new database", "set ConcurrentDatabaseReload yes where there is memory for two databases")
	}
}

// rspamdSettings are the options of rspamd that matter here.
type rspamdSettings struct {
	Timeout any   `json:"task_timeout"` // seconds
	Soft    *bool `json:"soft_reject_on_timeout"`
}

// askRspamadm asks the rspamd of this machine for its options; nil where there is
// none, or it does not tell us.
func askRspamadm(ctx context.Context) *rspamdSettings {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "rspamadm", "configdump", "-j", "options").Output()
	if err != nil {
		return nil
	}
	var s rspamdSettings
	if json.Unmarshal(out, &s) != nil || s.Timeout == nil {
		return nil
	}
	return &s
}

func (v *scannerView) rspamdLimits(s *rspamdSettings) {
	const asked = "time-outs"
	if s == nil {
		v.add(identity.Pass, asked, "its time-outs are not known: its configuration cannot be read from here", "")
		return
	}
	c := &v.x.Config
	seconds, ok := s.Timeout.(float64)
	switch limit := time.Duration(seconds * float64(time.Second)); {
	case !ok:
		v.add(identity.Pass, asked, fmt.Sprintf("task_timeout %v cannot be read", s.Timeout), "")
	case limit >= c.Timeout:
		v.add(identity.Warn, asked, fmt.Sprintf("task_timeout %s is not below timeout = %s: it works on for nobody", limit, c.Timeout),
			fmt.Sprintf("set timeout of [scanner.%s] above it, or task_timeout lower", v.x.Name))
	default:
		v.add(identity.Pass, asked, fmt.Sprintf("task_timeout %s below timeout = %s", limit, c.Timeout), "")
	}
	if s.Soft != nil && !*s.Soft && len(c.RequireSymbols) == 0 {
		v.add(identity.Warn, "soft_reject_on_timeout", "soft_reject_on_timeout false: what task_timeout ends passes without having been scanned",
			"set soft_reject_on_timeout = true in its options, or require_symbols here")
	}
}

func isLocal(address string) bool {
	u, err := url.Parse(address)
	return err == nil && text.IsLoopback(u.Hostname())
}
