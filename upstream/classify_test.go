package upstream

import (
	"bufio"
	"hash/fnv"
	"os"
	"strings"
	"testing"
)

// sample is one line of testdata/replies.tsv.
type sample struct {
	reply, stage, class, list string
	also                      []string
}

func samples(t testing.TB, path string) []sample {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []sample
	in := bufio.NewScanner(f)
	for in.Scan() {
		c := strings.Split(in.Text(), "\t")
		if len(c) < 7 || c[0] == "reply" {
			continue
		}
		out = append(out, sample{strings.ReplaceAll(c[0], `\n`, "\n"), c[1], c[3], c[5], strings.Split(c[6], ",")})
	}
	if in.Err() != nil || len(out) == 0 {
		t.Fatal(path, in.Err(), "no samples")
	}
	return out
}

func (s sample) right(c Class) bool {
	return string(c) == s.class || hasWord(s.also, string(c))
}

// heldOut picks three samples in ten by their text alone.
func heldOut(s sample) bool {
	h := fnv.New32a()
	h.Write([]byte(s.reply))
	return h.Sum32()%10 < 3
}

// TestClassifyRealReplies holds the rules to their promise: 95 % of all right,
// the mean of the classes 0.9, listings found and not imagined.
func TestClassifyRealReplies(t *testing.T) {
	type count struct{ n, right int }
	var all, held, listed, rest count
	classes := map[string]*count{}
	add := func(c *count, right bool) {
		c.n++
		if right {
			c.right++
		}
	}
	for _, s := range samples(t, "testdata/replies.tsv") {
		v := Classify(s.stage, s.reply)
		ok := s.right(v.Class)
		if !ok {
			t.Logf("want %s, got %s by rule %q: %s", s.class, v.Class, v.Rule, s.reply)
		}
		if classes[s.class] == nil {
			classes[s.class] = &count{}
		}
		add(classes[s.class], ok)
		add(&all, ok)
		if heldOut(s) {
			add(&held, ok)
		}
		if Class(s.class).Listed() {
			add(&listed, v.Class.Listed() || ok)
		} else {
			add(&rest, !v.Class.Listed() || ok)
		}
	}
	share := func(c count) float64 { return float64(c.right) / float64(c.n) }
	var mean float64
	for _, c := range classes {
		mean += share(*c) / float64(len(classes))
	}
	t.Logf("right: all %.3f, three in ten %.3f, mean of classes %.3f; listed found %.3f, others left alone %.3f",
		share(all), share(held), mean, share(listed), share(rest))
	if share(all) < 0.95 || share(held) < 0.85 || mean < 0.9 || share(listed) < 0.95 || share(rest) < 0.98 {
		t.Error("the rules are worse than promised")
	}
}

func BenchmarkClassify(b *testing.B) {
	all := samples(b, "testdata/replies.tsv")
	Classify("rcpt", all[0].reply)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s := all[i%len(all)]
		Classify(s.stage, s.reply)
		i++
	}
}
