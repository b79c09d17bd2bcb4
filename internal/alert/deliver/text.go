package deliver

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/alert"
	"postern/internal/text"
)

// form is how a channel tells alerts.
type form struct {
	relay, channel string
	docs           string // URL before the path of a section
	link           string // URL of [admin] for release links; "" for none
	key            []byte // of those links
}

// all adds to alerts what is of the channel: links.
func (f *form) all(list []alert.Alert) []alert.Alert {
	list = slices.Clone(list)
	for i := range list {
		a := &list[i]
		if f.docs != "" {
			a.Docs = strings.TrimSuffix(f.docs, "/") + "/" + a.Docs
		}
		if f.link != "" && a.Kind == alert.Suspended && a.Status == alert.Open {
			a.ReleaseLink = strings.TrimSuffix(f.link, "/") + ReleasePath + channelToken(f.key, f.channel, a.Opened)
		}
	}
	return list
}

// ReleasePath is where [admin] serves the pages of release links.
const ReleasePath = "/release/"

// channelToken is what a release link ends in: which notice of which channel it is of, and the
// proof that it is ours. It holds as long as that suspension does.
func channelToken(key []byte, channel, id string) string {
	return id + "." + channel + "~" + base64.RawURLEncoding.EncodeToString(mac(key, channel, id))
}

func mac(key []byte, channel, id string) []byte {
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "release\n%s\n%s", channel, id)
	return m.Sum(nil)
}

// ReadToken returns what a token stands for; ok is false for one that is not ours.
func ReadToken(key []byte, token string) (channel, id string, ok bool) {
	end := strings.LastIndexByte(token, '~')
	if end < 0 || len(key) == 0 {
		return "", "", false
	}
	id, channel, ok = strings.Cut(token[:end], ".")
	sum, err := base64.RawURLEncoding.Strict().DecodeString(token[end+1:])
	if !ok || err != nil || !hmac.Equal(sum, mac(key, channel, id)) {
		return "", "", false
	}
	return channel, id, true
}

// maxTold is how many alerts of a digest a text tells; it counts the others.
const maxTold = 40

// text tells a batch to people.
func (f *form) text(b *alert.Batch) (subject, text string) {
	alerts := f.all(b.Alerts)
	if !b.Digest && len(alerts) == 1 {
		return f.subject(&alerts[0]), describe(&alerts[0])
	}
	var t strings.Builder
	for i := range alerts[:min(len(alerts), maxTold)] {
		a := &alerts[i]
		fmt.Fprintf(&t, "%s %s: %s\n", stamp(told(a)), statusWord(a), a.Summary)
	}
	if more := len(alerts) - maxTold; more > 0 {
		fmt.Fprintf(&t, "and %d more\n", more)
	}
	if b.Lost > 0 {
		fmt.Fprintf(&t, "%d older notices found no room while the receiver could not be reached\n", b.Lost)
	}
	if b.Over > 0 {
		fmt.Fprintf(&t, "%d more conditions are not watched, because too many hold at once\n", b.Over)
	}
	section := alert.Alert{Docs: "docs/alerts.md#digests"}
	fmt.Fprintf(&t, "\nshow: relay alert list\nabout digests: %s\n", f.all([]alert.Alert{section})[0].Docs)
	return fmt.Sprintf("[%s] %d alerts, of which %s", f.relay, len(alerts), counts(alerts)), t.String()
}

func (f *form) subject(a *alert.Alert) string {
	return fmt.Sprintf("[%s] %s: %s", f.relay, statusWord(a), a.Summary)
}

func statusWord(a *alert.Alert) string {
	if a.Status == alert.Open {
		return strings.ToUpper(a.Severity)
	}
	return a.Status
}

func told(a *alert.Alert) time.Time {
	if a.Status == alert.Resolved {
		return a.Ended
	}
	return a.Since
}

// counts is such as "12 suspended, 1 store".
func counts(alerts []alert.Alert) string {
	n := map[string]int{}
	for i := range alerts {
		n[alerts[i].Kind]++
	}
	kinds := slices.SortedFunc(maps.Keys(n), func(x, y string) int { return cmp.Or(n[y]-n[x], strings.Compare(x, y)) })
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = fmt.Sprintf("%d %s", n[k], strings.ReplaceAll(k, "_", " "))
	}
	return strings.Join(words, ", ")
}

// describe tells one alert. It ends in the commands and the section of the docs.
func describe(a *alert.Alert) string {
	var t strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&t, "%s: %s\n", key, value)
		}
	}
	line("reason", a.Reason)
	line("since", stamp(a.Since))
	line("until", stamp(a.Until))
	line("ended", stamp(a.Ended))
	if !a.Ended.IsZero() {
		line("lasted", a.Ended.Sub(a.Since).Round(time.Second).String())
	}
	line("client", a.About.Client)
	line("user", a.About.User)
	line("stream", a.About.Stream)
	line("upstream", a.About.Upstream)
	line("address", a.About.Address)
	line("transaction", a.About.Transaction)
	if e := a.About.Envelope; e != nil {
		line("envelope", fmt.Sprintf("from <%s> to %s", strings.Trim(e.From, "<>"), text.Count(e.ToCount, "recipient", "recipients")))
	}
	line("message-id", a.About.MessageID)
	for _, name := range slices.Sorted(maps.Keys(a.Numbers)) {
		line(strings.ReplaceAll(name, "_", " "), strconv.FormatFloat(a.Numbers[name], 'g', 6, 64))
	}
	t.WriteByte('\n')
	for _, c := range a.Commands {
		line(c.What, c.Line)
	}
	line("release by a button", a.ReleaseLink)
	line("what to do", a.Docs)
	line("alert", a.ID)
	return t.String()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 MST")
}

// slackText escapes what Slack takes for markup: a mention of everybody, say.
func slackText(s string) string {
	const most = 30_000 // Slack cuts at 40,000
	s = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
	return text.Clip(s, most)
}
