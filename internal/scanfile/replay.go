package scanfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/internal/text"
	"postern/scan"
)

// Report is what scanners would have done with a folder of messages.
type Report struct {
	Messages int `json:"messages"`
	// Refused, Deferred and Passed are what would have become of them; Unscanned
	// those of Passed that some scanner has no verdict on.
	Refused   int `json:"refused"`
	Deferred  int `json:"deferred"`
	Passed    int `json:"passed"`
	Unscanned int `json:"unscanned"`
	// TooLarge would have been refused for their size before a scanner sees them.
	TooLarge int       `json:"too_large"`
	Scanners []Scanner `json:"scanners"` // by name
	Stopped  []Stopped `json:"held"`     // refused and deferred ones, in the order of their files
	Unread   []string  `json:"unread,omitempty"`
}

// Scanner is what one scanner said.
type Scanner struct {
	Name     string             `json:"name"`
	Verdicts map[scan.Class]int `json:"verdicts"`
	Shadow   bool               `json:"shadow,omitempty"`
	// Median and P99 of the time to a verdict, in nanoseconds.
	Median time.Duration `json:"median"`
	P99    time.Duration `json:"p99"`

	took []time.Duration
}

// Stopped is a message that would not have gone on.
type Stopped struct {
	File    string      `json:"file"`
	Choice  scan.Choice `json:"choice"`
	Scanner string      `json:"scanner"`
	Class   scan.Class  `json:"class"`
	Text    string      `json:"text,omitempty"`
	Err     string      `json:"err,omitempty"`
}

// Replayer shows the messages of folders to scanners.
type Replayer struct {
	Set      *scan.Set
	MaxSize  int64
	Hostname string
	Envelope Envelope

	report   Report
	scanners map[string]*Scanner
}

// Folder shows every file below dir, one after the other. Links are not followed.
// Files that cannot be read are noted; an error is that of the folder.
func (p *Replayer) Folder(ctx context.Context, dir string) (*Report, error) {
	p.scanners = map[string]*Scanner{}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !d.Type().IsRegular():
			return nil
		}
		f, err := root.Open(name)
		if err == nil {
			defer f.Close()
			err = p.message(ctx, filepath.Join(dir, name), f)
		}
		if err != nil {
			p.report.Unread = append(p.report.Unread, fmt.Sprintf("%s: %v", filepath.Join(dir, name), err))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p.sum(), nil
}

func (p *Replayer) message(ctx context.Context, file string, r io.Reader) error {
	m, err := Read(r, p.MaxSize, p.Hostname, &p.Envelope)
	if errors.Is(err, errTooLarge) {
		p.report.Messages, p.report.TooLarge = p.report.Messages+1, p.report.TooLarge+1
		return nil
	}
	if err != nil {
		return err
	}
	list := p.Set.Each(ctx, m)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.add(file, list)
	return nil
}

func (p *Replayer) add(file string, list []scan.Response) {
	r := &p.report
	r.Messages++
	unscanned := false
	for i := range list {
		v := &list[i]
		s := p.scanners[v.Scanner]
		if s == nil {
			s = &Scanner{Name: v.Scanner, Verdicts: map[scan.Class]int{}, Shadow: v.Shadow}
			p.scanners[v.Scanner] = s
		}
		s.Verdicts[v.Class]++
		s.took = append(s.took, v.Took)
		unscanned = unscanned || v.Unscanned
	}
	v := scan.Deciding(list)
	switch {
	case v == nil:
		r.Passed++
		if unscanned {
			r.Unscanned++
		}
		return
	case v.Choice == scan.Refuse:
		r.Refused++
	default:
		r.Deferred++
	}
	h := Stopped{File: file, Choice: v.Choice, Scanner: v.Scanner, Class: v.Class, Text: v.Text}
	if v.Err != nil {
		h.Err = v.Err.Error()
	}
	r.Stopped = append(r.Stopped, h)
}

func (p *Replayer) sum() *Report {
	r := &p.report
	for _, name := range slices.Sorted(maps.Keys(p.scanners)) {
		s := p.scanners[name]
		slices.Sort(s.took)
		s.Median, s.P99 = s.took[len(s.took)/2], s.took[len(s.took)*99/100]
		r.Scanners = append(r.Scanners, *s)
	}
	return r
}

// Write prints r for people, with at most top messages that would not have gone
// on.
func (r *Report) Write(w io.Writer, top int) {
	fmt.Fprintf(w, "%s: %d would have gone on (%d of them unscanned by some scanner), %d refused, %d deferred, %d too large for the relay\n",
		text.Count(r.Messages, "message", "messages"), r.Passed, r.Unscanned, r.Refused, r.Deferred, r.TooLarge)
	for i := range r.Scanners {
		s := &r.Scanners[i]
		words := make([]string, 0, len(s.Verdicts))
		for _, class := range slices.Sorted(maps.Keys(s.Verdicts)) {
			words = append(words, fmt.Sprintf("%d %s", s.Verdicts[class], class))
		}
		shadow := ""
		if s.Shadow {
			shadow = " (only watched)"
		}
		fmt.Fprintf(w, "%-12s%s; time median %.1f ms, 99 %% within %.1f ms%s\n", s.Name, strings.Join(words, ", "), ms(s.Median), ms(s.P99), shadow)
	}
	for i := range r.Stopped[:min(len(r.Stopped), top)] {
		h := &r.Stopped[i]
		fmt.Fprintf(w, "%s: %s by %s: %s", h.File, word(h.Choice), h.Scanner, h.Class)
		for _, s := range []string{h.Text, h.Err} {
			if s != "" {
				fmt.Fprintf(w, " %s", s)
			}
		}
		fmt.Fprintln(w)
	}
	if more := len(r.Stopped) - top; more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	for _, s := range r.Unread {
		fmt.Fprintf(w, "not read: %s\n", s)
	}
}

func word(c scan.Choice) string {
	if c == scan.Refuse {
		return "refused"
	}
	return "deferred"
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
