package config

import (
	"os"
	"slices"
	"strings"

	"postern/mail"
	"postern/outlier"
	"postern/ratelimit/strangers"
)

// completeOutlier gives the table [outlier] what it takes from elsewhere.
func (f *File) completeOutlier() {
	f.Outlier.InternalDomains = f.InternalDomains
	f.Outlier.Pairs = strangers.OfSenders(f.Limit)
	for _, name := range sortedKeys(f.Client) {
		if !f.Client[name].Retries {
			f.Outlier.NoRetries = append(f.Outlier.NoRetries, name)
		}
	}
	f.watched()
}

// SuspendedMay are the recipients to whom a suspended sender may still write.
func (f *File) SuspendedMay() *mail.Patterns {
	all := &mail.Patterns{}
	for _, text := range f.SuspendedMayTexts() {
		if p, err := mail.ParsePattern(text, ParseAddress); err == nil { // the check has told of others
			all.Add(p)
		}
	}
	return all
}

// SuspendedMayTexts are the patterns of SuspendedMay as they are written, such as
// "postmaster@example.org".
func (f *File) SuspendedMayTexts() []string {
	may := slices.Clone(f.Outlier.SuspendedMay)
	if f.Postmaster != "" {
		may = append(may, f.Postmaster)
		for _, domain := range f.InternalDomains {
			if !strings.HasPrefix(domain, "*") {
				may = append(may, "postmaster@"+domain)
			}
		}
	}
	return may
}

// watched fills in which policy of the watch each client names.
func (f *File) watched() {
	for name, c := range f.Client {
		if c.Watch == "" {
			continue
		}
		if f.Outlier.Watch == nil {
			f.Outlier.Watch = map[string]string{}
		}
		f.Outlier.Watch[name] = c.Watch
	}
}

// LoadOutlier reads the table [outlier] of the file at path and judges nothing
// else of it, so that a file with that table alone will do.
func LoadOutlier(path string) (outlier.Config, error) {
	l := loader{getenv: os.Getenv, beside: leftAlone}
	d, err := l.open(path)
	if err != nil {
		return outlier.Config{}, asProblems(err)
	}
	f := &File{path: path}
	d.decodeFile(f)
	d.check()
	d.outlierSenders(&f.Outlier)
	var problems []Problem
	for _, p := range d.problems {
		if d.broken > 0 || p.Key == "outlier" || strings.HasPrefix(p.Key, "outlier.") {
			problems = append(problems, p)
		}
	}
	if len(problems) > 0 {
		return outlier.Config{}, Problems(order(problems, d.more))
	}
	f.completeOutlier()
	foldOutlier(&f.Outlier)
	return f.Outlier, nil
}
