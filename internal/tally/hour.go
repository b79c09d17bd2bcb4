package tally

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"postern/internal/find"
	"postern/mail"
)

// Sender is what became of one sender's mail within an hour.
type Sender struct {
	Name, Client, User string
	Count
}

const (
	// maxSenders bounds the senders that are told apart within an hour.
	maxSenders = 200_000
	// maxEvents bounds the events of an hour that are read.
	maxEvents = 1_000_000
)

// Senders reads from the files of a journal who sent mail of a stream within an hour, of a
// client where one is named, the largest first. whole is false where there were more than
// are read. The error is that of the journal, or of ctx.
func Senders(ctx context.Context, files []string, stream, client string, hour Hour) (list []Sender, whole bool, err error) {
	begin, end := hour.Time(), (hour + 1).Time()
	q := find.Query{Client: client, Since: begin.Add(-longest), Until: end}
	type who struct{ name, client, user string }
	all := map[who]*Sender{}
	events := 0
	whole = true
	_, err = find.Search(ctx, files, q, func(_ []byte, e *mail.Event) error {
		ended := e.Time.Add(e.Duration)
		if e.Stream != stream || e.Client == "" || ended.Before(begin) || !ended.Before(end) {
			return nil
		}
		k := who{string(mail.IdentityOf(e.From)), e.Client, e.User}
		events++
		if all[k] == nil && len(all) >= maxSenders || events > maxEvents {
			whole = false
			return find.ErrEnough
		}
		if all[k] == nil {
			all[k] = &Sender{Name: k.name, Client: k.client, User: k.user}
		}
		all[k].Count = all[k].Plus(countOf(e))
		return nil
	})
	if errors.Is(err, context.DeadlineExceeded) && len(all) > 0 {
		whole, err = false, nil
	}
	for _, s := range all {
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b Sender) int {
		return cmp.Or(cmp.Compare(b.All(), a.All()), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Client, b.Client), cmp.Compare(a.User, b.User))
	})
	return list, whole, err
}
