package limitimport

import (
	"encoding/csv"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// throttleColumns is the order of the table throttle, for INSERT without one.
var throttleColumns = []string{"id", "account", "kind", "priority", "period", "msg_size", "max_msgs", "max_quota"}

// throttle is one row of it.
type throttle struct {
	account, kind                        string
	priority, period                     int64
	size, messages, quota, maxRecipients int64
}

var insertThrottle = regexp.MustCompile("(?is)\\bINSERT\\s+(?:IGNORE\\s+)?INTO\\s+[`\"]?(?:\\w+[`\"]?\\.[`\"]?)?throttle[`\"]?\\s*(\\([^)]*\\))?\\s*VALUES\\s*")

// importIredapd reads senders' throttling.
func importIredapd(text string, out *imported) error {
	rows, unread := throttleInserts(text), 0
	if len(rows) == 0 {
		rows, unread = throttleTable(text)
	}
	if len(rows) == 0 {
		return errNothing
	}
	if unread > 0 {
		out.note("%d rows could not be read and are left out.", unread)
	}
	out.note("From iRedAPD, table throttle, kind outbound. It counted every recipient as a message, and so do these limits: unit recipients.")
	out.note("Its periods began with the first message and were then counted anew, so that twice the number could pass around an end; here no window of that length ever holds more.")
	slices.SortStableFunc(rows, func(a, b throttle) int { return int(b.priority - a.priority) })
	others := 0
	for _, r := range rows {
		if r.kind != "outbound" {
			others++
			continue
		}
		out.addThrottle(r)
	}
	if others > 0 {
		out.note("%d rows of kind inbound or external are left out: this relay takes mail of its own clients only.", others)
	}
	return nil
}

// addThrottle puts a row in its limit, as the general number or an override.
func (i *imported) addThrottle(r throttle) {
	i.throttleNotes(r)
	if r.period <= 0 {
		i.note("%s: no period, so it was never looked at; left out.", r.account)
		return
	}
	numbers := i.throttleNumbers(r)
	if numbers.empty() {
		return
	}
	network, isAddress := addressForm(r.account)
	switch {
	case r.account == "@ip":
		i.limit("client_ip", `"client_ip"`).numbers = numbers
	case isAddress:
		o := importedOverride{key: network, numbers: numbers}
		if strings.Contains(r.account, "*") {
			o.note = "The addresses of this network shared the number; here each has it."
		}
		l := i.limit("client_ip", `"client_ip"`)
		l.override(o)
	case r.account == "@.":
		i.throttledSender().numbers = numbers
	default:
		l := i.throttledSender()
		for _, key := range senderKeys(r.account) {
			l.override(importedOverride{key: key, numbers: numbers})
		}
	}
}

func (i *imported) throttledSender() *importedLimit {
	l := i.limit("sender", `"sender"`)
	if len(l.more) == 0 {
		l.note("There the SASL user counted where one was authenticated, else the sender, without its +tag; here the sender does. Give each client a limit as well, for it may send as several.")
		l.add(foldTag)
	}
	return l
}

func (i *imported) throttleNotes(r throttle) {
	if r.size > 0 {
		i.note("%s: msg_size %d is no limit over time; see max_size in [message].", r.account, r.size)
	}
	if r.maxRecipients > 0 {
		i.note("%s: max_rcpts %d is no limit over time; see max_recipients in [message].", r.account, r.maxRecipients)
	}
}

// throttleNumbers: above 0 a number, 0 no limit, below 0 that of a lower
// priority, which an override leaves out.
func (i *imported) throttleNumbers(r throttle) (n importedNumbers) {
	for _, u := range []struct {
		to *[]string
		n  int64
	}{{&n.recipients, r.messages}, {&n.bytes, r.quota}} {
		switch {
		case u.n > 0:
			i.addNumber(u.to, r.account, u.n, r.period)
		case u.n == 0 && r.account != "@." && r.account != "@ip":
			*u.to = []string{unlimited}
		}
	}
	return n
}

// senderKeys: "@.example.org" is the domain and all below it.
func senderKeys(account string) []string {
	if domain, ok := strings.CutPrefix(account, "@."); ok {
		return []string{"@" + domain, "@*." + domain}
	}
	if domain, ok := strings.CutPrefix(account, "@"); ok && !strings.Contains(domain, ".") {
		return []string{"@*." + domain} // a top-level domain
	}
	return []string{account}
}

// addressForm reads an address, a network or "192.0.2.*".
func addressForm(account string) (string, bool) {
	if _, err := netip.ParseAddr(account); err == nil {
		return account, true
	}
	if p, err := netip.ParsePrefix(account); err == nil {
		return p.Masked().String(), true
	}
	if head, ok := strings.CutSuffix(account, ".*"); ok {
		parts := strings.Split(head, ".")
		bits := 8 * len(parts)
		for len(parts) < 4 {
			parts = append(parts, "0")
		}
		if p, err := netip.ParsePrefix(strings.Join(parts, ".") + "/" + strconv.Itoa(bits)); err == nil {
			return p.String(), true
		}
	}
	return "", false
}

// throttleInserts reads the INSERT statements of a dump.
func throttleInserts(text string) (rows []throttle) {
	for _, at := range insertThrottle.FindAllStringSubmatchIndex(text, -1) {
		columns := throttleColumns
		if at[2] >= 0 {
			columns = nil
			for name := range strings.SplitSeq(text[at[2]+1:at[3]-1], ",") {
				columns = append(columns, strings.ToLower(strings.Trim(name, " \t\n`\"")))
			}
		}
		for _, values := range sqlTuples(text[at[1]:]) {
			if r, ok := throttleRow(columns, values); ok {
				rows = append(rows, r)
			}
		}
	}
	return rows
}

// sqlTuples reads "(1, 'a'), (2, 'b');".
func sqlTuples(text string) (tuples [][]string) {
	var values []string
	var value strings.Builder
	inside, quoted := false, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quoted && c == '\\' && i+1 < len(text):
			i++
			value.WriteByte(text[i])
		case quoted && c == '\'' && i+1 < len(text) && text[i+1] == '\'':
			i++
			value.WriteByte(c)
		case c == '\'':
			quoted = !quoted
		case quoted:
			value.WriteByte(c)
		case c == '(':
			inside = true
			values = nil
		case c == ',' && inside, c == ')' && inside:
			values = append(values, strings.TrimSpace(value.String()))
			value.Reset()
			if c == ')' {
				tuples = append(tuples, values)
				inside = false
			}
		case c == ';' && !inside:
			return tuples
		case inside:
			value.WriteByte(c)
		}
	}
	return tuples
}

// copyThrottle is how a dump of PostgreSQL begins the rows of the table.
var copyThrottle = regexp.MustCompile(`(?i)^COPY\s+(?:\S+\.)?"?throttle"?\s*\(([^)]*)\)\s+FROM\s+stdin`)

// throttleTable reads columns under their names, divided by tabs, "|", "," or
// ";", and COPY of a dump. unread counts rows that make no sense.
func throttleTable(text string) (rows []throttle, unread int) {
	var columns []string
	var divide func(line string) []string
	for line := range strings.SplitSeq(text, "\n") {
		if m := copyThrottle.FindStringSubmatch(line); m != nil {
			columns, divide = words(strings.ReplaceAll(m[1], ",", " ")), byTabs
			continue
		}
		if columns == nil {
			columns, divide = throttleHead(line)
			continue
		}
		if line == `\.` {
			columns = nil
			continue
		}
		if strings.Trim(line, "-+=| \t") == "" || strings.HasPrefix(line, "(") {
			continue // a border, or the number of rows
		}
		if r, ok := throttleRow(columns, divide(line)); ok {
			rows = append(rows, r)
		} else {
			unread++
		}
	}
	return rows, unread
}

// throttleHead reads the names of the columns, and says how lines are divided.
func throttleHead(line string) (columns []string, divide func(string) []string) {
	for _, divide := range []func(string) []string{byTabs, byBars, byMarks(','), byMarks(';')} {
		columns = divide(strings.ToLower(line))
		if slices.Contains(columns, "account") && slices.Contains(columns, "period") {
			return columns, divide
		}
	}
	return nil, nil
}

func byTabs(line string) []string { return trimmed(strings.Split(line, "\t")) }

func byBars(line string) []string {
	line = strings.TrimSpace(line)
	return trimmed(strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|"))
}

func byMarks(mark rune) func(string) []string {
	return func(line string) []string {
		r := csv.NewReader(strings.NewReader(line))
		r.Comma, r.LazyQuotes = mark, true
		fields, err := r.Read()
		if err != nil {
			return nil
		}
		return trimmed(fields)
	}
}

func trimmed(fields []string) []string {
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	return fields
}

func throttleRow(columns, values []string) (r throttle, ok bool) {
	if len(columns) != len(values) {
		return r, false
	}
	r = throttle{kind: "outbound", size: -1, messages: -1, quota: -1, maxRecipients: -1}
	numbers := map[string]*int64{
		"priority": &r.priority, "period": &r.period, "msg_size": &r.size,
		"max_msgs": &r.messages, "max_quota": &r.quota, "max_rcpts": &r.maxRecipients,
	}
	for i, name := range columns {
		switch n := numbers[name]; {
		case name == "account":
			r.account = strings.ToLower(values[i])
		case name == "kind":
			r.kind = strings.ToLower(values[i])
		case n != nil:
			if values[i] == "" || values[i] == `\N` || strings.EqualFold(values[i], "NULL") {
				continue
			}
			v, err := strconv.ParseInt(values[i], 10, 64)
			if err != nil {
				return r, false
			}
			*n = v
		}
	}
	return r, r.account != ""
}
