package offline

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"postern/cmd/relay/cli"
	"postern/internal/config"
	"postern/outlier"
	"postern/outlier/astable"
	"postern/outlier/networks"
)

// outlierConfig reads [outlier] of a configuration; the defaults where there is
// none.
func outlierConfig(named string) (cfg outlier.Config, err error) {
	if path := cli.OwnConfig(named); path != "" {
		return config.LoadOutlier(path)
	}
	cfg.SetDefaults()
	return cfg, nil
}

// Replay runs the detector on messages of standard input.
func Replay(io cli.IO, args []string) int {
	f := flag.NewFlagSet("relay outliers replay", flag.ContinueOnError)
	f.SetOutput(io.Err)
	path := cli.ConfigFlag(f, " with a table [outlier]")
	if status, ok := cli.ParseFlags(f, args); !ok {
		return status
	}
	cfg, err := outlierConfig(*path)
	if err != nil {
		fmt.Fprintln(io.Err, err)
		return cli.Usage
	}
	r, err := outlier.NewReplay(cfg)
	if err != nil {
		fmt.Fprintf(io.Err, "relay outliers replay: %v\n", err)
		return cli.Usage
	}
	if err := replay(r, io.In, io.Out); err != nil {
		fmt.Fprintf(io.Err, "relay outliers replay: %v\n", err)
		return cli.Fault
	}
	return cli.OK
}

// replayBuffer is also the longest line without a copy.
const replayBuffer = 1 << 20

// replay answers each line of in with one of out. Answers are written at the
// latest before it waits for input.
func replay(r *outlier.Replay, in io.Reader, out io.Writer) error {
	lines, w := bufio.NewReaderSize(in, replayBuffer), bufio.NewWriter(out)
	var m replayLine
	for n := 1; ; n++ {
		if lines.Buffered() == 0 {
			if err := w.Flush(); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		line, err := lines.ReadString('\n')
		if err == io.EOF && line == "" {
			return w.Flush()
		} else if err != nil && err != io.EOF {
			return fmt.Errorf("line %d: %w", n, err)
		}
		last := m.at
		if err := m.parse(strings.TrimSuffix(line, "\n")); err != nil {
			w.Flush()
			return fmt.Errorf("line %d: %w", n, err)
		}
		if n > 1 && m.at < last {
			w.Flush()
			return fmt.Errorf("line %d: time %d comes after %d; lines must be in the order of time", n, m.at, last)
		}
		s := r.MessageWith(m.signs, m.from, m.at, m.user(), m.sender, m.client, m.rcpts, m.refused)
		sender, client := max(s.Sender, s.User), s.Client
		switch {
		case sender >= 1 && client >= 1:
			fmt.Fprintf(w, "alarm %.2f both\n", max(sender, client))
		case client >= 1:
			fmt.Fprintf(w, "alarm %.2f client\n", client)
		case sender >= 1:
			fmt.Fprintf(w, "alarm %.2f\n", sender)
		case s.Networks > 0:
			w.WriteString("alarm 1.00 networks\n")
		default:
			w.WriteString("ok\n")
		}
	}
}

// replayLine is one message of the input.
type replayLine struct {
	at             int64
	sender, client string
	rcpts          []string
	refused        int
	// located: the line has a network, and its sender is a user of that name. from is
	// invalid where it is not known.
	located bool
	from    netip.Addr
	signs   outlier.Signs
}

// user is who sends from a network: the sender itself.
func (m *replayLine) user() string {
	if !m.located {
		return ""
	}
	return m.sender
}

// maxTime is the last second of the year 2105.
const maxTime = 4_291_747_199

// parse reads "UNIXTIME SENDER CLIENT NRCPT RCPT,RCPT,... REFUSED", and behind it, if
// they are known, " NETWORK" and " FLAG,FLAG,...".
func (m *replayLine) parse(line string) error {
	f := strings.Split(line, " ")
	if len(f) < 6 || len(f) > 8 {
		return fmt.Errorf("has %d fields; write six, with one space between: time, sender, client, number of recipients, recipients, refused; and then network and flags, if known", len(f))
	}
	if err := m.parseSigns(f[6:]); err != nil {
		return err
	}
	at, err := strconv.ParseFloat(f[0], 64)
	if err != nil || !(at >= 0 && at <= maxTime) {
		return fmt.Errorf("time %q is not in seconds since 1970", f[0])
	}
	m.at, m.sender, m.client = int64(at), f[1], f[2]
	if m.sender == "" || m.client == "" {
		return errors.New("sender or client is empty")
	}
	m.rcpts = m.rcpts[:0]
	for r := range strings.SplitSeq(f[4], ",") {
		if r == "" {
			return errors.New("a recipient is empty")
		}
		m.rcpts = append(m.rcpts, r)
	}
	if n, err := strconv.Atoi(f[3]); err != nil || n != len(m.rcpts) {
		return fmt.Errorf("number of recipients is %q, but there are %d", f[3], len(m.rcpts))
	}
	if m.refused, err = strconv.Atoi(f[5]); err != nil || m.refused < 0 || m.refused > len(m.rcpts) {
		return fmt.Errorf("refused is %q; write a number from 0 to %d", f[5], len(m.rcpts))
	}
	return nil
}

// parseSigns reads the network and the flags of a line, "-" where one is not known.
func (m *replayLine) parseSigns(f []string) error {
	m.located, m.from, m.signs = len(f) > 0, netip.Addr{}, outlier.Signs{}
	if len(f) > 0 && f[0] != "-" {
		text, _, _ := strings.Cut(f[0], "/")
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("network %q is neither an address nor a network, nor - for one that is not known", f[0])
		}
		m.from = a
	}
	if len(f) < 2 || f[1] == "-" {
		return nil
	}
	for flag := range strings.SplitSeq(f[1], ",") {
		switch flag {
		case "new":
			m.signs.New = true
		case "colleagues":
			m.signs.Colleagues = true
		case "name":
			m.signs.NewName = true
		case "listed":
			m.signs.Listed = true
		case "spam":
			m.signs.Harmful = true
		default:
			return fmt.Errorf("flag %q is unknown; write some of new, colleagues, name, listed, spam, or -", flag)
		}
	}
	return nil
}

// Measure says from a journal how often users show networks that are new for them.
func Measure(io cli.IO, args []string) int {
	f := flag.NewFlagSet("relay outliers measure", flag.ContinueOnError)
	f.SetOutput(io.Err)
	path := cli.ConfigFlag(f, " that names the journal")
	asJSON := f.Bool("json", false, "print JSON")
	table := f.String("as-table", "", "`file` of networks and autonomous systems, in place of the one in the configuration")
	named := cli.JournalFlag(f)
	words, status, ok := cli.ParseWords(f, args, cli.MaxJournals)
	if !ok {
		return status
	}
	files, err := cli.JournalsNamed(*path, append(*named, words...))
	if err != nil {
		fmt.Fprintf(io.Err, "relay outliers measure: %v\n", err)
		return cli.Usage
	}
	cfg, err := outlierConfig(*path)
	if err == nil && *table != "" {
		cfg.ASTable = *table
	}
	var systems *astable.Table
	if err == nil {
		systems, err = outlier.OpenTable(cfg)
	}
	if err != nil {
		fmt.Fprintf(io.Err, "relay outliers measure: %v\n", err)
		return cli.Usage
	}
	m := networks.NewMeasure(systems)
	tell, err := cli.ReadJournal(io, "relay outliers measure", files, m.Add)
	defer tell()
	if err != nil {
		fmt.Fprintf(io.Err, "relay outliers measure: %v\n", err)
		return cli.Fault
	}
	m.End()
	if *asJSON {
		cli.PrintJSON(io, m)
		return cli.OK
	}
	m.Write(io.Out)
	return cli.OK
}
