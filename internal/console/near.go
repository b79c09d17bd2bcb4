package console

import (
	"context"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/internal/api"
	"postern/internal/console/chart"
	"postern/internal/phrase"
	"postern/ratelimit"
)

const (
	shownBudgets    = 20
	shownForms      = 5 // of the fullest; the page of its own has all
	shownAllowances = 4
	shownRest       = 12 // with those that are less than half used
	// askedBudgets are asked for, so that some can be left out that a visitor may not see.
	askedBudgets = 200
	// budgetsFor is how long an answer is shown; asking looks at all budgets there are.
	budgetsFor = 5 * time.Second
	// budgetsWait is how long a page waits for the first answer.
	budgetsWait = 60 * time.Millisecond
	budgetsMost = 20 * time.Second
)

// budgets keeps the last answer of which budgets are used most: to ask looks at each
// budget that is in use, be it 100,000 of them. While a new answer is looked for the old
// one is shown.
type budgets struct {
	ask func(context.Context, int) ([]ratelimit.Usage, error)

	mu     sync.Mutex
	asking chan struct{} // closed when the answer is there; nil: nobody asks
	at     time.Time
	list   []ratelimit.Usage
	err    error
}

// get is the last answer and when it was given; ok is false where there is none yet.
func (b *budgets) get(now time.Time) (list []ratelimit.Usage, ok bool, err error) {
	b.mu.Lock()
	if b.asking == nil && now.Sub(b.at).Abs() > budgetsFor {
		done := make(chan struct{})
		b.asking = done
		go b.look(done, now)
	}
	wait, known := b.asking, !b.at.IsZero()
	b.mu.Unlock()
	if wait != nil && !known {
		timer := time.NewTimer(budgetsWait)
		defer timer.Stop()
		select {
		case <-wait:
		case <-timer.C:
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.list, !b.at.IsZero(), b.err
}

// forget makes the next answer a new one, after something was done. Until it is there the
// old one is shown.
func (b *budgets) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.at.IsZero() {
		b.at = time.Unix(0, 0)
	}
}

func (b *budgets) look(done chan struct{}, now time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), budgetsMost)
	defer cancel()
	list, err := b.ask(ctx, askedBudgets)
	b.mu.Lock()
	b.list, b.err, b.at, b.asking = list, err, now, nil
	b.mu.Unlock()
	close(done)
}

// nearPart is which limits are nearly used up.
type nearPart struct {
	Rows           []nearRow // half used or more
	Rest           []nearRow
	Allowances     []allowanceRow
	AllowancesMore int // that are not shown; below 1: none
	Problem        string
	Waits          bool // the first answer is on its way
	Act            bool
	Form           string // token of forms
}

// nearRow is one budget.
type nearRow struct {
	ID         string
	Limit, Key string // for the form
	What       string // "sender"
	Who        string // "anna@example.org"
	Shadow     bool
	Used       string // "182 of 200 messages in 1h"
	Percent    string
	Meter      template.HTML
	Fits       string // when one more fits
	Top        string // the largest contributors
	Spark      template.HTML
	SparkSays  string
	Unit       string
	Window     string
	Act        bool   // with a form
	More       string // the unit in words
	Step       int64  // a proposal of how much more to allow
}

// allowanceRow is a temporary override.
type allowanceRow struct {
	ID                   string
	Limit, Key           string
	Unit, Window         string
	What, Who, By, Added string
	Until                *moment
}

func (v *visit) near() *nearPart {
	p := &nearPart{Act: v.mayAct(), Form: v.sessions.formToken(v.session)}
	list, ok, err := v.budgets.get(v.Console.now())
	p.Waits = !ok
	shown, forms := shownBudgets, shownForms
	if v.request.URL.Path == "/near" {
		shown, forms = askedBudgets, askedBudgets
	}
	if err != nil {
		p.Problem = clean(err.Error())
	}
	for i := range list {
		u, n := &list[i], len(p.Rows)+len(p.Rest)
		switch {
		case u.Use <= 0 || !v.api.MayReadKey(v.Caller, u.Key) || n >= shown:
		case u.Use >= 0.5:
			p.Rows = append(p.Rows, v.nearRow(u, n))
		case n < shownRest || shown > shownBudgets:
			p.Rest = append(p.Rest, v.nearRow(u, n))
		}
	}
	for i := range p.Rows {
		p.Rows[i].Act = p.Act && i < forms
		if i >= forms {
			p.Rows[i].Spark = ""
		}
	}
	for i := range p.Rest {
		p.Rest[i].Act = p.Act && len(p.Rows)+i < forms
		if len(p.Rows)+i >= forms {
			p.Rest[i].Spark = ""
		}
	}
	ctx, cancel := context.WithTimeout(v.request.Context(), time.Second)
	defer cancel()
	allowances, err := v.api.Allowances(ctx, api.PageQuery{Limit: shownAllowances})
	if err != nil && p.Problem == "" {
		p.Problem = clean(err.Error())
	}
	p.AllowancesMore = max(allowances.Total, len(allowances.Items)) - shownAllowances
	for i := range allowances.Items[:min(len(allowances.Items), shownAllowances)] {
		p.Allowances = append(p.Allowances, v.allowanceRow(&allowances.Items[i], i))
	}
	return p
}

func (v *visit) nearRow(u *ratelimit.Usage, i int) nearRow {
	w := fullest(u)
	r := nearRow{
		ID: "near-" + strconv.Itoa(i), Limit: u.Limit, Key: u.Key, Shadow: u.Mode == ratelimit.Shadow, Used: phrase.Used(w), Percent: fmt.Sprintf("%d %%", int(100*u.Use)),
		Meter: chart.Meter(u.Use), Fits: fitsWords(w.Wait), Top: v.words(strings.Join(u.Top, ", ")), Unit: w.Unit.String(), Window: w.Window, Step: max(1, w.Max/10), More: w.Unit.Words(),
	}
	var scope, name string
	r.What, r.Who, scope, name = v.keyWords(u.Key)
	if history := v.Data.History(scope, name); scope != "" && len(history) > 0 {
		r.Spark = chart.Spark(history)
		r.SparkSays = fmt.Sprintf("recipients by day, the last 14 days: %s", numbers(history))
	}
	return r
}

func numbers(list []int) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = number(n)
	}
	return strings.Join(words, ", ")
}

// keyWords says what a budget counts on: what it is, who, and under which name the watch
// has that, where it has.
func (v *visit) keyWords(key string) (what, who, scope, name string) {
	parts := strings.Split(key, " ")
	for _, part := range parts {
		kind, value, ok := strings.Cut(part, "=")
		if !ok {
			return "", v.words(key), "", ""
		}
		if unquoted, err := strconv.Unquote(value); err == nil {
			value = unquoted
		}
		if what != "" {
			what, who = what+", ", who+", "
		}
		what, who = what+strings.ReplaceAll(kind, "_", " "), who+value
		if len(parts) == 1 && (kind == "sender" || kind == "user" || kind == "client") {
			scope, name = kind, value
		}
	}
	return clean(what), clean(who), scope, name
}

// fullest is the window of which most is used.
func fullest(u *ratelimit.Usage) *ratelimit.WindowUsage {
	best, most := &ratelimit.WindowUsage{}, -1.0
	for i := range u.Windows {
		w := &u.Windows[i]
		use := 1.0
		if w.Max > 0 {
			use = float64(w.Used) / float64(w.Max)
		}
		if use > most {
			best, most = w, use
		}
	}
	return best
}

// fitsWords says when one more fits.
func fitsWords(seconds int64) string {
	switch {
	case seconds < 0:
		return "no more fits"
	case seconds == 0:
		return ""
	}
	return "one more fits in " + span(time.Duration(seconds)*time.Second)
}

func (v *visit) allowanceRow(r *ratelimit.Allowance, i int) allowanceRow {
	row := allowanceRow{ID: "allowance-" + strconv.Itoa(i), Limit: r.Limit, Key: r.Key, Unit: r.Unit.String(), By: v.words(r.Reason), Until: v.moment(r.Until)}
	row.Added = "+" + number(r.Add) + " " + r.Unit.Words()
	if r.Window > 0 {
		row.Window = ratelimit.FormatWindow(r.Window)
		row.Added += " in " + row.Window
	}
	row.What, row.Who, _, _ = v.keyWords(r.Key)
	return row
}
