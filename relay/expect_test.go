package relay

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"postern/internal/eventlog"
	"postern/mail"
)

func (d *dialog) expectEvent(rest string) {
	if rest == "none" {
		if got := d.rig.events.count(); got != d.event {
			d.fatalf("%d events, want %d", got, d.event)
		}
		return
	}
	e := d.rig.events.wait(d.t, d.event)
	d.event++
	for _, kv := range strings.Fields(rest) {
		key, want, _ := strings.Cut(kv, "=")
		want = strings.ReplaceAll(want, "_", " ")
		got, ok := eventField(e, key)
		if !ok {
			d.fatalf("unknown event field %q", key)
		}
		if got = strings.ReplaceAll(got, "_", " "); !matches(got, want) {
			d.fatalf("event %s is %q, want %q (event %+v)", key, got, want, *e)
		}
	}
}

// saidWords is such as "rcpt:us:listed-ip"; "" for none.
func saidWords(s *mail.Evidence) string {
	if s == nil {
		return ""
	}
	words := s.At + ":" + string(s.About) + ":" + string(s.Class)
	if s.Remote {
		words += ":remote"
	}
	return words
}

func eventField(e *mail.Event, key string) (string, bool) {
	switch key {
	case "outcome":
		return e.Outcome, true
	case "code":
		return strconv.Itoa(e.Code), true
	case "status":
		return e.Status, true
	case "stage":
		return e.Stage, true
	case "rule":
		return e.Rule, true
	case "client":
		return e.Client, true
	case "client_ip":
		return e.ClientIP, true
	case "helo":
		return e.Helo, true
	case "user":
		return e.User, true
	case "submitter":
		return e.Submitter, true
	case "submitter_ip":
		return e.SubmitterIP, true
	case "submitter_doubt":
		return e.SubmitterDoubt, true
	case "tls":
		return e.TLS, true
	case "from":
		return e.From, true
	case "size":
		return strconv.FormatInt(e.Size, 10), true
	case "to":
		var all []string
		for _, r := range e.To {
			all = append(all, r.Address+":"+r.Outcome+":"+strconv.Itoa(r.Code))
		}
		return strings.Join(all, ","), true
	case "unreached":
		var all []string
		for _, u := range e.Unreached {
			all = append(all, u.Domain+":"+saidWords(u.Said)+":"+strconv.FormatBool(strings.Contains(u.Err, u.Domain)))
		}
		return strings.Join(all, ","), true
	case "rules":
		var all []string
		for _, r := range e.To {
			all = append(all, r.Rule)
		}
		return strings.Join(all, ","), true
	case "to_count":
		return strconv.Itoa(len(e.To)), true
	case "providers":
		var all []string
		for _, r := range e.To {
			all = append(all, r.Provider)
		}
		return strings.Join(all, ","), true
	case "classes":
		var all []string
		for _, r := range e.To {
			all = append(all, string(r.Class))
		}
		return strings.Join(all, ","), true
	case "class":
		return string(e.Class), true
	case "said": // of each recipient; of a fault that of its host
		all := []string{saidWords(e.Said)}
		for _, r := range e.To {
			all = append(all, saidWords(r.Said))
		}
		return strings.Join(slices.DeleteFunc(all, func(s string) bool { return s == "" }), ","), true
	case "trials":
		var all []string
		for _, r := range e.To {
			if r.Trial {
				all = append(all, r.Address)
			}
		}
		return strings.Join(all, ","), true
	case "refused":
		return eventlog.Refused(e), true
	case "authors":
		return strings.Join(e.Authors, ","), true
	case "long_lines":
		return strconv.Itoa(e.LongLines), true
	case "rewritten":
		return strings.Join(e.Rewritten, ","), true
	case "forwarded":
		return e.Forwarded, true
	case "signed":
		return strings.Join(e.Signed, ","), true
	case "upstream":
		return e.Upstream, true
	case "reply":
		return e.Reply, true
	case "err":
		return e.Err, true
	case "shadow":
		return strings.Join(e.Shadow, ","), true
	case "used": // of each window that was looked at
		var all []string
		for _, l := range e.Limits {
			all = append(all, l.Unit+":"+strconv.FormatInt(l.Used, 10))
		}
		return strings.Join(all, ","), true
	}
	return "", false
}

func (d *dialog) expectMessage(rest string) {
	all := d.rig.up.Messages()
	if rest == "none" {
		if len(all) != d.taken {
			d.fatalf("upstream has %d messages, want %d", len(all), d.taken)
		}
		return
	}
	if len(all) <= d.taken {
		d.fatalf("upstream has %d messages, want one more", len(all))
	}
	m := all[d.taken]
	d.taken++
	for _, kv := range strings.Fields(rest) {
		key, want, _ := strings.Cut(kv, "=")
		var got string
		switch key {
		case "from":
			got = m.From.Address
		case "to":
			var tos []string
			for _, p := range m.To {
				tos = append(tos, p.Address)
			}
			got = strings.Join(tos, ",")
		case "params":
			got = strings.Join(m.From.Params, ",")
		case "rcptparams":
			got = strings.Join(m.To[0].Params, ",")
		case "ehlo":
			got = m.EHLO
		case "size":
			got = strconv.FormatInt(m.Size, 10)
		case "chunks":
			got = strconv.Itoa(m.Chunks)
		case "body": // what follows the blank line, quoted as in Go, blanks as _
			_, body, _ := bytes.Cut(m.Data, []byte("\r\n\r\n"))
			got = strings.ReplaceAll(strconv.Quote(string(body)), " ", "_")
		case "data": // all of it, likewise
			got = strings.ReplaceAll(strconv.Quote(string(m.Data)), " ", "_")
		case "has", "lacks":
			if bytes.Contains(m.Data, []byte(d.unquote(want))) != (key == "has") {
				d.fatalf("message %s not %s: %q", key, want, m.Data)
			}
			continue
		default:
			d.fatalf("unknown message field %q", key)
		}
		if !matches(got, want) {
			d.fatalf("message %s is %s, want %s", key, got, want)
		}
	}
}

// commanded reports whether the upstream got a command line, or with "any" a
// connection at all.
func (d *dialog) commanded(pattern string) bool {
	if pattern == "any" {
		return d.rig.up.Accepted() > 0
	}
	for _, line := range d.rig.up.Commands() {
		if _, command, _ := strings.Cut(line, " "); matches(command, pattern) {
			return true
		}
	}
	return false
}
