package limitimport

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// setting is a top-level key of a YAML or Python file, with all that follows up
// to the next one.
type setting struct{ key, value string }

var topLevel = regexp.MustCompile(`^([A-Za-z_]\w*)[ \t]*[:=](.*)$`)

func topSettings(text string) (all []setting) {
	for line := range strings.SplitSeq(text, "\n") {
		line = cutComment(line)
		if m := topLevel.FindStringSubmatch(line); m != nil {
			all = append(all, setting{m[1], m[2]})
		} else if len(all) > 0 {
			all[len(all)-1].value += "\n" + line
		}
	}
	return all
}

// cutComment cuts "#" and what follows, unless it stands in quotes.
func cutComment(line string) string {
	var quote byte
	for i := range len(line) {
		switch c := line[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '#':
			return line[:i]
		}
	}
	return line
}

// importPolicyd reads limits as [number, seconds], in YAML or Python.
func importPolicyd(text string, out *imported) error {
	settings := map[string]string{"limit_by_sasl": "True"}
	for _, s := range topSettings(text) {
		settings[strings.ToLower(s.key)] = s.value
	}
	base := pairs(settings["limits"])
	byID := limitsByID(settings["limits_by_id"])
	if len(base)+len(byID) == 0 {
		return errNothing
	}
	out.note("From postfix policyd-rate-limit. It counted every recipient as a mail, and so do these limits: unit recipients.")
	out.note("What the upstream defers (4xx) is given back here; there it stayed counted.")
	out.note("When its database was away mail passed (db_error_action); here on_store_failure says what holds.")
	if isTrue(settings["limit_by_sasl"]) {
		l := out.limit("user", `"user"`)
		l.skip = true
		l.note("Per SASL user. This does not count mail without one; take absent out to count it per client.")
		l.fill(out, base)
	}
	if isTrue(settings["limit_by_sender"]) {
		l := out.limit("sender", `"sender"`)
		l.note("There only mail without a SASL user counted per sender; here all mail does.")
		l.fill(out, base)
	}
	networks := words(settings["limited_networks"] + " " + settings["limited_netword"])
	if isTrue(settings["limit_by_ip"]) && len(networks) > 0 {
		l := out.limit("client_ip", `"client_ip"`)
		l.note("There only mail without a SASL user counted per address, and only from %s; here all mail does. Name clients to narrow it. An IPv6 address counts as its /64.", strings.Join(networks, ", "))
		l.fill(out, base)
	}
	if len(out.limits) == 0 {
		return errNothing
	}
	for _, o := range byID {
		out.overridePolicyd(o)
	}
	return nil
}

// isTrue reads a truth of YAML, Python or rspamd.
func isTrue(value string) bool {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "true", "yes", "on", "1":
		return true
	}
	return false
}

func (l *importedLimit) fill(out *imported, pairs [][2]int64) {
	for _, p := range pairs {
		out.addNumber(&l.numbers.recipients, l.name, p[0], p[1])
	}
}

// overridePolicyd puts the limits of one id where it can occur.
func (i *imported) overridePolicyd(o idLimits) {
	_, err := netip.ParseAddr(o.id)
	for _, l := range i.limits {
		key, fits := o.id, err != nil
		switch l.name {
		case "user":
			key = "user=" + o.id
		case "client_ip":
			fits = err == nil
		case "sender":
			fits = fits && strings.Contains(o.id, "@")
		}
		if !fits {
			continue
		}
		entry := importedOverride{key: key}
		for _, p := range o.pairs {
			i.addNumber(&entry.numbers.recipients, o.id, p[0], p[1])
		}
		if len(o.pairs) == 0 {
			entry.note = "An empty list: no limit for this one."
			entry.numbers.recipients = []string{unlimited}
		}
		if !entry.numbers.empty() {
			l.override(entry)
		}
	}
}

// token is a quoted text, a bare word or a mark of YAML and Python.
var token = regexp.MustCompile(`"[^"\n]*"|'[^'\n]*'|[\[\](){},]|[^\s\[\](){},"']+`)

// words are the texts of a list.
func words(value string) (list []string) {
	for _, t := range token.FindAllString(value, -1) {
		if t = strings.Trim(t, `"'`); t != "" && t != "-" && !strings.ContainsAny(t, "[](){},") {
			list = append(list, t)
		}
	}
	return list
}

// pairs reads a list of lists of two numbers.
func pairs(value string) [][2]int64 {
	var numbers []int64
	for _, t := range token.FindAllString(value, -1) {
		if n, err := strconv.ParseInt(t, 10, 64); err == nil {
			numbers = append(numbers, n)
		}
	}
	var list [][2]int64
	for p := range slices.Chunk(numbers, 2) {
		if len(p) == 2 {
			list = append(list, [2]int64{p[0], p[1]})
		}
	}
	return list
}

type idLimits struct {
	id    string
	pairs [][2]int64
}

// limitsByID reads a dictionary of such lists.
func limitsByID(value string) (list []idLimits) {
	var rest strings.Builder
	end := func() {
		if len(list) > 0 {
			list[len(list)-1].pairs = pairs(rest.String())
		}
		rest.Reset()
	}
	tokens := token.FindAllString(value, -1)
	for i, t := range tokens {
		quoted := len(t) >= 2 && (t[0] == '"' || t[0] == '\'')
		bare := !quoted && len(t) > 1 && strings.HasSuffix(t, ":")
		if quoted && i+1 < len(tokens) && strings.HasPrefix(tokens[i+1], ":") || bare {
			end()
			list = append(list, idLimits{id: strings.TrimSuffix(strings.Trim(t, `"'`), ":")})
			continue
		}
		rest.WriteString(t + " ")
	}
	end()
	return list
}
