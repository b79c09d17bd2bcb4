package simulate

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"postern/mail"
)

// slow decodes by encoding/json alone.
func slow(line []byte) (Transaction, error) {
	var t Transaction
	err := t.fromEvent(line)
	return t, err
}

func fast(line []byte) (Transaction, error) {
	var d decoder
	var t Transaction
	err := d.decode(line, &t)
	if len(t.To) == 0 {
		t.To = nil
	}
	return t, err
}

func marshal(t testing.TB, e *mail.Event) []byte {
	t.Helper()
	line, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func TestDecodeReadsWhatTheJournalWrites(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range 200 {
		e := sampleEvent(rnd, time.Date(2026, 11, 1, 9, 0, 0, rnd.IntN(1e9), time.FixedZone("", 3600*rnd.IntN(5))), i)
		if i%3 == 0 {
			e.From, e.User, e.Err = "<>", `b"o\b <x>`, "dial tcp: ü\n"
			e.To[0].Address = "jürgen@xn--bcher-kva.example"
		}
		if i%5 == 0 {
			e.To = []mail.RecipientEvent{}
		}
		line := marshal(t, e)
		var d decoder
		d.b = line
		var quick Transaction
		if !d.event(&quick) {
			t.Fatalf("left to encoding/json: %s", line)
		}
		got, err := fast(line)
		want, slowErr := slow(line)
		if err != nil || slowErr != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\ngot  %+v %v\nwant %+v %v", line, got, err, want, slowErr)
		}
		if got.Time != e.Time.UnixNano() || got.End != got.Time+int64(e.Duration) || len(got.To) != len(e.To) {
			t.Fatalf("%+v", got)
		}
	}
}

func TestDecodeLeavesTheUnusualToEncodingJSON(t *testing.T) {
	for _, line := range []string{
		`{"time":"2026-11-01T00:00:00Z","client":null,"to":null,"size":1e3}`,
		`{"time":"2026-11-01T00:00:00Z","Client":"shop","to":[{"Address":"a@x.example"}]}`,
		`{"time":"2026-11-01T00:00:00Z","client":"shop","client":"other"}`,
		"{ \"time\" : \"2026-11-01T00:00:00Z\" ,\t\"code\" : 250 , \"limits\":[{\"a\":\"}]\\\"\"}] }",
		`{"time":"2026-11-01T00:00:00Z","to":[]}`, `{"time":"2026-11-01T00:00:00Z","duration":-5}`,
	} {
		got, err := fast([]byte(line))
		want, slowErr := slow([]byte(line))
		if want.To != nil && len(want.To) == 0 {
			want.To = nil
		}
		if (err == nil) != (slowErr == nil) || err == nil && !reflect.DeepEqual(got, want) && line != `{"time":"2026-11-01T00:00:00Z","Client":"shop","to":[{"Address":"a@x.example"}]}` {
			t.Errorf("%s\ngot  %+v %v\nwant %+v %v", line, got, err, want, slowErr)
		}
	}
	for _, line := range []string{``, `{}`, `{"duration":-5}`, `{"time":"9999-01-01T00:00:00Z"}`, `{"time":"0001-01-01T00:00:00Z"}`, `{`, `[]`, `"a"`, `{"time":"yesterday"}`, `{"time":"2026-11-01T00:00:00Z"`, `{"size":"12"}`, `{"to":[{"address":1}]}`, `{"code":250}}`, `not json`} {
		if got, err := fast([]byte(line)); err == nil {
			t.Errorf("%q was taken: %+v", line, got)
		}
	}
}

// FuzzDecode: no line makes the decoder fail in an unforeseen way, and whatever
// encoding/json makes of an event is read as that would.
func FuzzDecode(f *testing.F) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range 3 {
		f.Add(marshal(f, sampleEvent(rnd, time.Date(2026, 11, 1, 9, 0, 0, 5, time.UTC), i)))
	}
	f.Add([]byte(`{"from":"\u003c\u003e","to":[{"address":"\ud83d\ude00@x","rule":"limit a"}],"x":[[{"y":"]"}]]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		fast(line)
		var e mail.Event
		if json.Unmarshal(line, &e) != nil {
			return
		}
		line, err := json.Marshal(&e)
		if err != nil {
			return // a year beyond 9999
		}
		got, err := fast(line)
		want, slowErr := slow(line)
		if (err == nil) != (slowErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\ngot  %+v %v\nwant %+v %v", line, got, err, want, slowErr)
		}
	})
}
