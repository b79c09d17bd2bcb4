// Package volume counts what the journal holds of one sender, user or client:
// what really went through, whoever decided, beside what the watch has counted.
package volume

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"postern/internal/config"
	"postern/internal/simulate"
	"postern/internal/text"
	"postern/mail"
	"postern/outlier"
)

// Volume is what the journal holds of one sender, user or client.
type Volume struct {
	Journal string `json:"journal"`
	Hour    Count  `json:"hour"` // the last one
	Day     Count  `json:"day"`  // the last 24 hours
	// Problem says why nothing could be counted; "": it could.
	Problem string `json:"problem,omitempty"`
}

// Count is of what ended in a time, whoever decided: transactions, and
// recipients by how they ended.
type Count struct {
	Messages int `json:"messages"` // relayed, to one recipient at least
	Relayed  int `json:"relayed"`
	Deferred int `json:"deferred"`
	Rejected int `json:"rejected"`
	Aborted  int `json:"aborted"` // transactions
}

// Of counts in a journal; files are its own with those that were rotated. A blank
// journal is none.
func Of(journal string, files []string, scope, name string, now time.Time) *Volume {
	v := &Volume{Journal: journal}
	if err := v.count(files, scope, name, now); err != nil {
		v.Problem = err.Error()
	}
	return v
}

func (v *Volume) count(files []string, scope, name string, now time.Time) error {
	if v.Journal == "" {
		return errors.New("the relay keeps no journal; set journal.file")
	}
	files = slices.DeleteFunc(files, func(file string) bool {
		info, err := os.Stat(file)
		return err == nil && now.Sub(info.ModTime()) > 24*time.Hour
	})
	_, err := simulate.Read(files, nil, func(t *simulate.Transaction) error {
		age := now.Sub(time.Unix(0, t.End))
		if age > 24*time.Hour || !isOf(t, scope, name) {
			return nil
		}
		v.Day.add(t)
		if age <= time.Hour {
			v.Hour.add(t)
		}
		return nil
	})
	return err
}

// isOf reports whether a transaction is of a sender, user or client; name is as
// the watch has it.
func isOf(t *simulate.Transaction, scope, name string) bool {
	switch scope {
	case outlier.User:
		return mail.User(t.User, config.ParseAddress) == name
	case outlier.Mailbox:
		return t.Submitter == name
	case outlier.Client:
		return t.Client == name
	case outlier.UserSender:
		user, sender := outlier.Names(name)
		if submitter, ok := mail.SubmitterOf(user); ok {
			return isOf(t, outlier.Mailbox, submitter) && isOf(t, outlier.Sender, sender)
		}
		return isOf(t, outlier.User, user) && isOf(t, outlier.Sender, sender)
	}
	return string(mail.IdentityOf(t.From)) == name
}

func (v *Count) add(t *simulate.Transaction) {
	if t.Outcome == mail.Aborted {
		v.Aborted++
	}
	before := v.Relayed
	for i := range t.To {
		switch to := &t.To[i]; {
		case mail.LeftNow(to.Outcome, to.Rule):
			v.Relayed++
		case to.Outcome == mail.Deferred:
			v.Deferred++
		case to.Outcome == mail.Rejected:
			v.Rejected++
		}
	}
	if v.Relayed > before {
		v.Messages++
	}
}

func (v *Count) String() string {
	s := fmt.Sprintf("%s relayed to %s; %s deferred, %d rejected", text.Count(v.Messages, "message", "messages"), text.Count(v.Relayed, "recipient", "recipients"), text.Count(v.Deferred, "recipient", "recipients"), v.Rejected)
	if v.Aborted > 0 {
		s += "; " + text.Count(v.Aborted, "transaction", "transactions") + " aborted"
	}
	return s
}
