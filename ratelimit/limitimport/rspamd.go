package limitimport

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/ratelimit"
)

// uclNode is a value of rspamd's configuration language: a text, a list, or a
// table with its keys in order.
type uclNode struct {
	text  string
	list  []*uclNode
	keys  []string
	table map[string]*uclNode
}

// importRspamd reads the rates of the ratelimit module.
func importRspamd(text string, out *imported) error {
	p := uclParser{tokens: uclTokens(text)}
	root := p.object(0)
	if inner := root.table["ratelimit"]; inner != nil && inner.table != nil {
		root = inner
	}
	rates := root.table["rates"]
	if rates == nil || len(rates.keys) == 0 {
		return errNothing
	}
	out.note("From rspamd, module ratelimit. A bucket there lets its burst pass at once and is refilled meanwhile, so that up to twice the number may pass in the time that fills it; here no window of that length ever holds more.")
	out.note("It counted a message once for each recipient, and so do these limits (unit recipients), unless skip_recipients was set.")
	exempt := "postmaster, mailer-daemon"
	if n := root.table["whitelisted_rcpts"]; n != nil {
		exempt = cmp.Or(textOf(n), "the file named there")
	}
	out.note("A recipient of whitelisted_rcpts (%s) lifted the limits of the whole message; nothing does here.", exempt)
	if root.table["max_rcpt"] != nil {
		out.note("max_rcpt = %s: messages to more recipients were not limited there; here they are.", root.table["max_rcpt"].text)
	}
	for _, key := range []string{"whitelisted_ip", "whitelisted_user"} {
		if n := root.table[key]; n != nil {
			out.note("%s is left out: name the clients that a limit concerns, or give an override.", key)
		}
	}
	if isTrue(textOf(root.table["dynamic_rate_limit"])) {
		out.note("dynamic_rate_limit is left out: a number here is the same whatever the mail was taken for. [outlier] holds each sender against its own past.")
	}
	for _, name := range rates.keys {
		l := out.addRate(name, rates.table[name])
		if root.table["symbol"] != nil {
			l.watchOnly()
		}
	}
	return nil
}

// watchOnly is for a rate that added a symbol and refused nothing.
func (l *importedLimit) watchOnly() {
	l.note("It added a symbol there and refused nothing: take mode out to enforce it.")
	l.add(`mode = "shadow"`)
}

// textOf is a text, or a list of them in words.
func textOf(n *uclNode) string {
	if n == nil {
		return ""
	}
	texts := make([]string, len(n.list))
	for i, one := range n.list {
		texts[i] = one.text
	}
	return cmp.Or(n.text, strings.Join(texts, ", "))
}

func (i *imported) addRate(name string, rate *uclNode) *importedLimit {
	selector, buckets := name, rate
	if rate.table != nil && rate.table["bucket"] != nil {
		buckets = rate.table["bucket"]
		if s := rate.table["selector"]; s != nil {
			selector = s.text
		}
	}
	per, skip, note := rspamdPer(selector, selector != name)
	l := i.limit(name, per)
	l.skip = skip
	if note != "" {
		l.note("%s", note)
	}
	if per == "" {
		l.off, l.per = true, `"client"`
	}
	for _, b := range bucketsOf(buckets) {
		i.addBucket(l, b)
	}
	if l.numbers.empty() && !l.off {
		l.off = true
		l.note("No bucket of this rate has a burst and a rate above 0.")
	}
	return l
}

// rspamdPer says what a rate counts on; per is "" when it cannot be said here.
func rspamdPer(selector string, isSelector bool) (per string, skip bool, note string) {
	if strings.HasPrefix(selector, "bounce") {
		return "", false, "Mail of the null sender: see null_sender_limit of the client, which counts it in any case."
	}
	var dims []string
	if isSelector {
		dims = selectorDims(selector)
	} else {
		for word := range strings.SplitSeq(selector, "_") {
			dims = append(dims, map[string]string{"user": "user", "ip": "client_ip", "from": "sender"}[word])
		}
	}
	if len(dims) == 0 || slices.Contains(dims, "") {
		return "", false, fmt.Sprintf("%q counts on something that limits here do not, such as a single recipient; choose what comes near, as per = [\"client\", \"recipient_domain\"].", selector)
	}
	if slices.Contains(dims, "user") {
		skip = true
		note = "Mail without a SASL user does not count; take absent out to count it per client."
	}
	if len(dims) == 1 {
		return strconv.Quote(dims[0]), skip, note
	}
	return `["` + strings.Join(dims, `", "`) + `"]`, skip, note
}

var selectorForms = []struct {
	form *regexp.Regexp
	dim  string
}{
	{regexp.MustCompile(`^user\b`), "user"},
	{regexp.MustCompile(`^(ip|client_ip)\b`), "client_ip"},
	{regexp.MustCompile(`^(smtp_from|from)\b.*(:domain|get_tld|get_domain)`), "sender_domain"},
	{regexp.MustCompile(`^(smtp_from|from\('smtp'\)|from\("smtp"\)|from)(:addr)?(\.\w+)*$`), "sender"},
	{regexp.MustCompile(`^(smtp_rcpts|rcpts)\b.*(:domain|get_tld|get_domain)`), "recipient_domain"},
}

// selectorDims reads a selector, whose parts stand between ";".
func selectorDims(selector string) (dims []string) {
	for part := range strings.SplitSeq(selector, ";") {
		dim := ""
		for _, f := range selectorForms {
			if f.form.MatchString(strings.ToLower(strings.TrimSpace(part))) {
				dim = f.dim
				break
			}
		}
		dims = append(dims, dim)
	}
	return dims
}

// bucket is a burst, and a rate for one second.
type bucket struct {
	burst, rate float64
	text        string
	// window is that of a rate without a burst of its own, "20 / 1h".
	window     time.Duration
	perMessage bool // skip_recipients
	watchOnly  bool
}

// bucketsOf reads "20 / 1h", [burst, rate], { burst, rate } and lists of them.
func bucketsOf(n *uclNode) (all []bucket) {
	switch {
	case n == nil:
	case n.table != nil:
		if b, ok := tableBucket(n); ok {
			all = append(all, b)
		}
	case n.list != nil:
		if len(n.list) == 2 && isNumber(n.list[0]) && isNumber(n.list[1]) {
			burst, _ := strconv.ParseFloat(n.list[0].text, 64)
			rate, _ := strconv.ParseFloat(n.list[1].text, 64)
			return []bucket{{burst: burst, rate: rate, text: n.list[0].text + ", " + n.list[1].text + " a second"}}
		}
		for _, one := range n.list {
			all = append(all, bucketsOf(one)...)
		}
	default:
		if count, window, ok := rateText(n.text); ok {
			all = append(all, bucket{burst: count, rate: count / window.Seconds(), text: n.text, window: window})
		}
	}
	return all
}

func isNumber(n *uclNode) bool {
	_, err := strconv.ParseFloat(n.text, 64)
	return err == nil
}

func tableBucket(n *uclNode) (b bucket, ok bool) {
	burst, rate := n.table["burst"], n.table["rate"]
	if rate == nil {
		return b, false
	}
	b.text = "rate " + rate.text
	if count, window, ok := rateText(rate.text); ok {
		b.rate, b.burst, b.window = count/window.Seconds(), count, window
	} else if b.rate, _ = strconv.ParseFloat(rate.text, 64); b.rate <= 0 {
		return b, false
	}
	b.perMessage = isTrue(textOf(n.table["skip_recipients"]))
	b.watchOnly = n.table["symbol"] != nil || isTrue(textOf(n.table["skip_soft_reject"]))
	if burst != nil {
		b.burst = suffixed(burst.text)
		b.text, b.window = "burst "+burst.text+", "+b.text, 0
	}
	return b, true
}

// suffixed reads "10k"; 0 is what it cannot read.
func suffixed(text string) float64 {
	factor := 1.0
	if n := len(text); n > 0 {
		if f := map[byte]float64{'k': 1e3, 'm': 1e6, 'g': 1e9}[text[n-1]|0x20]; f > 0 {
			text, factor = text[:n-1], f
		}
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return value * factor
}

var rateForm = regexp.MustCompile(`^\s*(\d+(?:\.\d+)?[kmg]?)\s*/\s*(\d*(?:\.\d+)?)\s*(ms|s|sec|m|min|h|hour|d|day|w)?\s*$`)

// rateText reads "20 / 1h".
func rateText(text string) (count float64, window time.Duration, ok bool) {
	m := rateForm.FindStringSubmatch(text)
	if m == nil || m[2] == "" && m[3] == "" {
		return 0, 0, false
	}
	unit := map[string]time.Duration{
		"": time.Second, "ms": time.Millisecond, "s": time.Second, "sec": time.Second, "m": time.Minute, "min": time.Minute,
		"h": time.Hour, "hour": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour, "w": 7 * 24 * time.Hour,
	}[m[3]]
	many := 1.0
	if m[2] != "" {
		many, _ = strconv.ParseFloat(m[2], 64)
	}
	count = suffixed(m[1])
	window = time.Duration(many * float64(unit))
	return count, window, count > 0 && window > 0
}

// addBucket makes burst and rate N per window: the burst, in the time that
// fills it.
func (i *imported) addBucket(l *importedLimit, b bucket) {
	if b.burst < 1 || b.rate <= 0 || math.IsInf(b.burst, 0) {
		return
	}
	window := b.window
	if window == 0 {
		window = time.Duration(min(b.burst/b.rate, ratelimit.MaxWindow.Seconds()+1) * float64(time.Second))
	}
	seconds := roundWindow(int64(math.Ceil(window.Seconds() - 1e-6)))
	n := int64(math.Floor(min(b.burst, ratelimit.MaxNumber)))
	to, unit := &l.numbers.recipients, ratelimit.Recipients
	if b.perMessage {
		to, unit = &l.numbers.messages, ratelimit.Messages
	}
	if b.watchOnly {
		l.watchOnly()
	}
	before := len(*to)
	i.addNumber(to, l.name, n, seconds)
	if len(*to) > before && b.window == 0 {
		l.note("Bucket of %s: %d %s in %s, the time that fills it. Add a number for a shorter window if the burst was meant to be smaller than what the rate allows.",
			b.text, n, unit, ratelimit.FormatWindow(time.Duration(seconds)*time.Second))
	}
}

// roundWindow rounds a length up to whole minutes above ten minutes, and to
// whole hours above a day: rates are written with few digits.
func roundWindow(seconds int64) int64 {
	switch {
	case seconds > 24*3600:
		return (seconds + 3599) / 3600 * 3600
	case seconds > 600:
		return (seconds + 59) / 60 * 60
	}
	return max(1, seconds)
}
