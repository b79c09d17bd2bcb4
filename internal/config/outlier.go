package config

import (
	"os"
	"strings"

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
