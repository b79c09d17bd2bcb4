package outlier

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"postern/mail"
	"postern/outlier/detector"
)

// Decoys are addresses that nobody writes to: one stands in each address book, and
// whoever writes to it has gone through the whole book. Volume finds such mail last,
// for all others in the book are known.

// Bounds of files of decoys.
const (
	maxDecoyFile = 4 << 20 // octets
	maxDecoys    = 100_000
)

// readDecoys reads files with an address on each line; what follows "#" is a remark.
func readDecoys(files []string, parse func(string) (mail.Address, error)) (map[mail.RecipientID]bool, error) {
	all := map[mail.RecipientID]bool{}
	for i, name := range files {
		if err := readDecoyFile(name, parse, all); err != nil {
			return nil, fmt.Errorf("outlier.decoys.%d: %w", i, err)
		}
	}
	return all, nil
}

func readDecoyFile(name string, parse func(string) (mail.Address, error), all map[mail.RecipientID]bool) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	whole := &io.LimitedReader{R: f, N: maxDecoyFile + 1}
	lines := bufio.NewScanner(whole)
	for n := 1; lines.Scan(); n++ {
		if whole.N == 0 { // what is read may be the beginning of an address
			return fmt.Errorf("%s: more than %d octets", name, maxDecoyFile)
		}
		text, _, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "\ufeff"), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		a, err := mail.ParseAddress(text, parse)
		if err != nil {
			return fmt.Errorf("%s:%d: %q is not an address", name, n, text)
		}
		if all[a.RecipientID()] = true; len(all) > maxDecoys {
			return fmt.Errorf("%s: more than %d decoys", name, maxDecoys)
		}
	}
	return lines.Err()
}

// decoyed takes the step that follows from a message to a decoy: whoever has
// submitted it is suspended. A program that answers or reports wrote nobody of its own
// accord, and an application, or an address that several users share, may stand for
// somebody who is not to blame: then it alerts, for a forged decoy must frame nobody. So
// does a message that ended before its header said what it is.
func (w *Watch) decoyed(now time.Time, ev *mail.Event, sender string) {
	if len(w.rules.decoys) == 0 {
		return
	}
	hit := false
	for i := range ev.To {
		hit = hit || w.rules.decoys[mail.RecipientOf(ev.To[i].Address)]
	}
	if !hit {
		return
	}
	to, why := Suspended, ""
	party := ev.Party()
	who := detector.PartyWho(party)
	switch {
	case party == "" && sender != "":
		to, who, why = Alerted, detector.Who{Scope: Sender, Name: sender}, "; nobody knows who submitted it"
	case party == "":
		to, who, why = Alerted, detector.Who{Scope: Client, Name: ev.Client}, "; nobody knows who submitted it"
	case ev.Automatic != "" || mail.IdentityOf(ev.From) == mail.NullSender:
		to, why = Alerted, "; it is automatic mail"
	case sender == "":
		to, why = Alerted, "; in the name of a sender that is not its own"
	case !ev.HeaderRead():
		to, why = Alerted, "; it ended before its header was there, and may have been automatic mail"
	case w.detector.Users(sender) > 1:
		to, why = Alerted, "; its sender is shared by several users"
	}
	w.plainly(now, who, ev.Client, to, RuleDecoy, "a message to a decoy, which nobody writes to"+why)
}
