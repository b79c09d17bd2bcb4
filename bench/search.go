package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/mail"
)

// search sends mail at a steady pace by a relay whose journal holds a million events, and
// searches that journal meanwhile: by relay find, and on the console. Mail alone and mail
// beside each kind of search take turns.
type search struct{}

func (search) title() string { return "search: a million events, by relay find and on the console" }

// searchEvents is how many events the journal holds; a quick run has fewer.
const (
	searchEvents = 1_000_000
	quickEvents  = 50_000
)

func (k search) run(ctx context.Context, r *runner) (result, error) {
	res := result{Row: k.title()}
	events := searchEvents
	if r.duration < time.Second {
		events = quickEvents
	}
	s, sub, err := r.alone(ctx, setup{keys: "rsa", windows: 3, journal: true, admin: true, events: events})
	if err != nil {
		return res, err
	}
	defer s.close()
	defer sub.stop()
	if err := sub.settle(ctx); err != nil { // what is usual is counted at the first start
		return res, err
	}
	binary, err := r.binary(ctx, true)
	if err != nil {
		return res, err
	}
	f := finder{binary: binary, journal: filepath.Join(sub.cmd.Dir, "state", "journal.jsonl")}
	page, err := openPage(ctx, binary, sub.cmd.Dir)
	if err != nil {
		return res, err
	}
	m := &meter{subject: sub}
	p := plan{conns: 20, perConn: 100, senders: 1000, every: 20 * time.Second / soakRate, messages: []message{newMessage(2 * kib)}}
	var beside [2][]float64 // ratios of p99
	for range r.rounds {
		alone, err := k.tail(ctx, m, &p, r.duration, nil)
		if err != nil {
			return res, err
		}
		for i, look := range []func(context.Context) error{f.find, page.find} {
			with, err := k.tail(ctx, m, &p, r.duration, look)
			if err != nil {
				return res, err
			}
			beside[i] = append(beside[i], ms(with)/ms(alone))
		}
	}
	if res.Relay, err = m.result(); err != nil {
		return res, err
	}
	if err := f.packed(ctx, filepath.Join(r.lab.dir, "packed.jsonl"), events/4); err != nil {
		return res, err
	}
	res.Checks = append(f.checks(), page.checks()...)
	res.Checks = append(res.Checks,
		check{What: "p99 of mail beside relay find, to alone", Have: median(beside[0]), Bar: 1.2, Aim: 1.1},
		check{What: "p99 of mail beside searches on the console, to alone", Have: median(beside[1]), Bar: 1.2, Aim: 1.1})
	return res, nil
}

// tail is the p99 of one round, with look called over and over beside it; nil: never.
func (search) tail(ctx context.Context, m *meter, p *plan, d time.Duration, look func(context.Context) error) (time.Duration, error) {
	var done sync.WaitGroup
	var failed error
	looking, enough := context.WithCancel(ctx)
	if look != nil {
		done.Go(func() {
			for looking.Err() == nil && failed == nil {
				failed = look(looking)
			}
		})
	}
	from := len(m.latencies)
	err := m.round(ctx, p, d, 0)
	enough()
	done.Wait()
	if err == nil && failed != nil && !errors.Is(failed, context.Canceled) {
		err = failed
	}
	if err != nil {
		return 0, err
	}
	latest := slices.Clone(m.latencies[from:])
	slices.Sort(latest)
	return quantile(latest, 0.99), nil
}

// settle waits until a process does nothing any more.
func (p *process) settle(ctx context.Context) error {
	for range 600 {
		before, err := p.cpu()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
		if after, err := p.cpu(); err != nil || after-before <= 2*clockTick {
			return err
		}
	}
	return errors.New("the relay has not come to rest within five minutes")
}

// finder runs relay find.
type finder struct {
	binary, journal string
	took            []time.Duration
	cores           float64 // the most
	peak            int64   // resident memory, in KiB
}

// find looks for a recipient who is far back in the journal.
func (f *finder) find(ctx context.Context) error {
	var out strings.Builder
	cmd := exec.CommandContext(ctx, f.binary, "find", "-journal", f.journal, "-to", seldom, "-n", "0")
	cmd.Stdout = &out
	took, err := f.run(cmd)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("relay find: %w", err)
	case !strings.Contains(out.String(), seldom):
		return fmt.Errorf("relay find has not found %s: %q", seldom, out.String())
	}
	f.took = append(f.took, took)
	return nil
}

// run lets cmd end and notes what it used. Its memory is looked at while it runs: what the
// system says of a child that has ended is never less than what its parent once had, since
// the two share memory until the program is in place.
func (f *finder) run(cmd *exec.Cmd) (took time.Duration, err error) {
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	next := time.NewTicker(5 * time.Millisecond)
	defer next.Stop()
	for p := (&process{cmd: cmd}); ; {
		if _, peak, err := p.memory(); err == nil {
			f.peak = max(f.peak, peak)
		}
		select {
		case err = <-ended:
			took = time.Since(began)
			f.cores = max(f.cores, (cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()).Seconds()/took.Seconds())
			return took, err
		case <-next.C:
		}
	}
}

// packed has all of a packed journal found, which has to be kept until it is read: the
// newest are told first.
func (f *finder) packed(ctx context.Context, journal string, n int) error {
	old := journal + "-20260101"
	if err := writeJournal(old, n); err != nil {
		return err
	}
	if err := exec.CommandContext(ctx, "gzip", "-1", old).Run(); err != nil {
		return fmt.Errorf("gzip: %w", err)
	}
	if _, err := f.run(exec.CommandContext(ctx, f.binary, "find", "-journal", journal, "-code", "250", "-n", "0")); err != nil {
		return fmt.Errorf("relay find: %w", err)
	}
	return nil
}

func (f *finder) checks() []check {
	slices.Sort(f.took)
	return []check{
		{What: "cores of relay find", Have: f.cores, Bar: 1.05, Aim: 1},
		{What: "memory of relay find in MiB", Have: float64(f.peak) / 1024, Bar: 64, Aim: 32},
		{What: "seconds of relay find beside mail", Have: quantile(f.took, 0.5).Seconds(), Bar: 2, Aim: 0.5},
	}
}

// page is a browser that is logged in to the console.
type page struct {
	base   string
	cookie *http.Cookie
	most   int // octets of a page
	first  []time.Duration
}

// openPage logs in by a link, as relay console prints it.
func openPage(ctx context.Context, binary, dir string) (*page, error) {
	out, err := exec.CommandContext(ctx, binary, "console", "-json", "-config", filepath.Join(dir, "relay.toml")).Output()
	var link struct{ URL string }
	if err == nil {
		err = json.Unmarshal(out, &link)
	}
	if err != nil {
		return nil, fmt.Errorf("relay console: %w", err)
	}
	u, err := url.Parse(link.URL)
	if err != nil {
		return nil, err
	}
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.PostForm(link.URL, nil)
	if err != nil {
		return nil, err
	}
	res.Body.Close()
	if len(res.Cookies()) != 1 {
		return nil, fmt.Errorf("the link of relay console does not log in: %s", res.Status)
	}
	return &page{base: "http://" + u.Host, cookie: res.Cookies()[0]}, nil
}

// find opens the page, and searches on it.
func (p *page) find(ctx context.Context) error {
	began := time.Now()
	if _, err := p.get(ctx, "/"); err != nil {
		return err
	}
	p.first = append(p.first, time.Since(began))
	text, err := p.get(ctx, "/find?q="+url.QueryEscape(seldom))
	if err == nil && !strings.Contains(text, seldom) {
		err = fmt.Errorf("the console has not found %s", seldom)
	}
	return err
}

func (p *page) get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+path, nil)
	if err != nil {
		return "", err
	}
	req.AddCookie(p.cookie)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, res.Status)
	}
	p.most = max(p.most, len(text))
	return string(text), err
}

func (p *page) checks() []check {
	slices.Sort(p.first)
	return []check{
		{What: "ms of the console's page beside mail", Have: ms(quantile(p.first, 0.5)), Bar: 100, Aim: 50},
		{What: "KiB of the largest page", Have: float64(p.most) / 1024, Bar: 60, Aim: 40},
	}
}

// seldom is a recipient of one event of the journal, a tenth from its beginning.
const seldom = "seldom@receiver.example"

// writeJournal makes a journal of n events, as of the last days.
func writeJournal(name string, n int) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, mib)
	begin := time.Now().Add(-time.Duration(n) * 200 * time.Millisecond)
	for i := range n {
		at, to := begin.Add(time.Duration(i)*200*time.Millisecond), fmt.Sprintf("r%d@dest%d.example", i, i%5000)
		if i == n/10 {
			to = seldom
		}
		reply := fmt.Sprintf("2.0.0 Ok: queued as 4Q%dZ", i)
		line, err := json.Marshal(&mail.Event{Time: at, Duration: 40 * time.Millisecond, ID: mail.NewID(at), Client: "bench", ClientIP: "127.0.0.1", Listener: "main", Helo: "client.example.org",
			Stream: "main", From: fmt.Sprintf("s%d@%s", i%100_000, domain), MessageID: fmt.Sprintf("<%d@%s>", i, domain), Size: 2048, Stage: mail.StageForward,
			To:      []mail.RecipientEvent{{Address: to, Outcome: mail.Relayed, Code: 250, Status: "2.0.0", Rule: "upstream", Reply: reply}},
			Outcome: mail.Relayed, Code: 250, Status: "2.0.0", Rule: "upstream", Upstream: "sink", Host: "127.0.0.1:25", Reply: "250 " + reply})
		if err != nil {
			return err
		}
		w.Write(append(line, '\n'))
	}
	return w.Flush()
}
