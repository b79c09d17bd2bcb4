package console

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"postern/internal/access"
	"postern/internal/text"
)

// part is one part of the page, which is also served alone, to refresh it.
type part struct {
	name string
	make func(*visit) any
}

// parts are those of the page, in their order.
var parts = [...]part{
	{"now", func(v *visit) any { return v.now() }},
	{"needs", func(v *visit) any { return v.needs() }},
	{"near", func(v *visit) any { return v.near() }},
	{"volume", func(v *visit) any { return v.volume() }},
	{"upstreams", func(v *visit) any { return v.upstreams() }},
}

// page shows all parts.
func (c *Console) page(w http.ResponseWriter, v *visit) {
	if v.request.URL.Query().Has(begun) {
		http.Redirect(w, v.request, "/", http.StatusSeeOther)
		return
	}
	body := map[string]any{"find": newSearch()}
	for _, p := range parts {
		body[p.name] = p.make(v)
	}
	c.show(w, http.StatusOK, "page.html", v.frame("Console", body))
}

// needsPage shows all that needs somebody, on a page of its own.
func (c *Console) needsPage(w http.ResponseWriter, v *visit) {
	c.show(w, http.StatusOK, "needs.html", v.frame("Needs you", v.needs()))
}

// nearPage shows all limits that are in use, on a page of its own.
func (c *Console) nearPage(w http.ResponseWriter, v *visit) {
	c.show(w, http.StatusOK, "near.html", v.frame("Near a limit", v.near()))
}

// part shows one part.
func (c *Console) part(w http.ResponseWriter, v *visit) {
	for _, p := range parts {
		if p.name == v.request.PathValue("name") {
			c.show(w, http.StatusOK, p.name, p.make(v))
			return
		}
	}
	http.NotFound(w, v.request)
}

// isOwner reports whether who looks sees what belongs to one client only.
func (v *visit) isOwner() bool { return v.Role == access.Owner }

// mayAct reports whether who looks may change anything.
func (v *visit) mayAct() bool { return v.May(access.Operate) || v.isOwner() }

// moment is a time for people and for programs.
type moment struct {
	At   time.Time
	Text string // such as "14:02" or "Nov 28, 14:02"
	Ago  string // such as "38m ago", "in 4h"
}

// moment puts a time into words; nil for none.
func (c *Console) moment(t time.Time) *moment {
	if t.IsZero() {
		return nil
	}
	now := c.now()
	local := t.Local()
	m := &moment{At: t, Text: local.Format("15:04")}
	switch y, d := local.Year(), local.YearDay(); {
	case y == now.Local().Year() && d == now.Local().YearDay():
	case now.Sub(t).Abs() < 180*24*time.Hour:
		m.Text = local.Format("Jan 2, 15:04")
	default:
		m.Text = local.Format("2006-01-02 15:04")
	}
	if d := now.Sub(t); d >= 0 {
		m.Ago = span(d) + " ago"
	} else {
		m.Ago = "in " + span(-d)
	}
	return m
}

// Stamp is the time as a program reads it.
func (m *moment) Stamp() string { return m.At.UTC().Format(time.RFC3339) }

// span is a length of time in one or two units.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 10*time.Hour && d%time.Hour >= time.Minute:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return text.Count(int(d.Hours())/24, "day", "days")
}

// number writes a count with commas.
func number[T int | int64 | uint32](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// counted is a count with its word: "1 message", "2 messages".
func counted(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + more
}
