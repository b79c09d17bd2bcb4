package api

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"testing"

	"postern/internal/access"
	"postern/internal/admin"
	"postern/mail"
)

func numbers(from, to int) (list []int) {
	for i := from; i < to; i++ {
		list = append(list, i)
	}
	return list
}

func number(n *int) string { return strconv.Itoa(*n) }

func TestPagesHoldEachItemOnce(t *testing.T) {
	var got []int
	q := PageQuery{Limit: 7}
	for range 10 {
		p, err := pageOf(numbers(0, 50), number, q, "all")
		if err != nil || p.Total != 50 {
			t.Fatal(p.Total, err)
		}
		got = append(got, p.Items...)
		if q.Cursor = p.Next; q.Cursor == "" {
			break
		}
	}
	if len(got) != 50 || got[49] != 49 {
		t.Errorf("%v", got)
	}
}

// TestPagesOfAListThatChanges: what stays is told once, whatever comes or goes meanwhile.
func TestPagesOfAListThatChanges(t *testing.T) {
	first, err := pageOf(numbers(10, 50), number, PageQuery{Limit: 10}, "all")
	if err != nil {
		t.Fatal(err)
	}
	for name, list := range map[string][]int{"more before": numbers(0, 50), "fewer before": numbers(15, 50)} {
		next, err := pageOf(list, number, PageQuery{Limit: 10, Cursor: first.Next}, "all")
		if err != nil || next.Items[0] != 20 {
			t.Errorf("%s: %v %v", name, next.Items, err)
		}
	}
	gone, err := pageOf(numbers(30, 50), number, PageQuery{Cursor: first.Next}, "all")
	if err != nil || len(gone.Items) != 10 {
		t.Errorf("the last item is gone: %v %v", gone.Items, err)
	}
	empty, err := pageOf(nil, number, PageQuery{Cursor: first.Next}, "all")
	if err != nil || empty.Items == nil || empty.Next != "" {
		t.Errorf("nothing is left: %+v %v", empty, err)
	}
}

func TestCursorHoldsForItsQueryOnly(t *testing.T) {
	p, err := pageOf(numbers(0, 50), number, PageQuery{Limit: 1}, "one")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"of another query": p.Next, "no base64": "%%%", "padding": p.Next + "=", "no JSON": base64.RawURLEncoding.EncodeToString([]byte("x")),
		"negative": cursor{At: -1, Query: digest("two")}.String(), "another journal": cursor{File: 2, Query: digest("two")}.String(),
		"long": strings.Repeat("A", maxCursor+1),
	} {
		var problem *Problem
		if _, err := pageOf(numbers(0, 50), number, PageQuery{Cursor: text}, "two"); !errors.As(err, &problem) || problem.Status != 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, limit := range []int{-1, maxLimit + 1} {
		if _, err := pageOf(numbers(0, 50), number, PageQuery{Limit: limit}, "two"); err == nil {
			t.Errorf("limit %d is taken", limit)
		}
	}
}

func FuzzCursor(f *testing.F) {
	query := digest("all")
	f.Add(cursor{At: 3, After: "3", Query: query}.String())
	f.Add(cursor{At: 1 << 40, Query: query, Time: -1, File: 1}.String())
	f.Add("e30")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := pageOf(numbers(0, 20), number, PageQuery{Limit: 5, Cursor: text}, "all")
		if err == nil && (len(p.Items) > 5 || p.Items == nil || p.Total != 20) {
			t.Fatalf("%+v", p)
		}
	})
}

func TestMaskHidesWhoseAnAddressIs(t *testing.T) {
	for in, want := range map[string]string{
		"alice@example.net": "a***@example.net", `"odd name"@example.net`: "o***@example.net", `"a@b"@example.net`: "a***@example.net",
		"postmaster": "***", "": "***", "jörg@example.net": "j***@example.net", "@example.net": "***@example.net", `""@example.net`: "***@example.net",
	} {
		if got := mask(in); got != want {
			t.Errorf("Mask(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"550 5.1.1 <alice@example.net>: no such user": "550 5.1.1 <a***@example.net>: no such user",
		"alice@example.net, bob@[192.0.2.1] unknown":  "a***@example.net, b***@[192.0.2.1] unknown",
		`"al ice"@example.net is unknown`:             `a***@example.net is unknown`,
		"no address":                                  "no address",
	} {
		if got := MaskText(in); got != want {
			t.Errorf("MaskText(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMaskedEventNamesNoRecipient(t *testing.T) {
	e := mail.Event{From: "news@shop.example", Reply: "550 <alice@example.net> unknown", Err: "alice@example.net", Said: &mail.Evidence{Reply: "alice@example.net"},
		To:        []mail.RecipientEvent{{Address: "alice@example.net", Reply: "550 <alice@example.net>", Said: &mail.Evidence{Reply: "alice@example.net"}}},
		Unreached: []mail.Unreached{{Domain: "example.net", Err: "alice@example.net", Said: &mail.Evidence{Reply: "alice@example.net"}}},
		Scans:     []mail.ScanEvent{{Text: "to alice@example.net", Symbols: []string{"alice@example.net"}}}}
	masked := e
	MaskEvent(&masked)
	text := string(mustJSON(t, masked))
	if strings.Contains(text, "alice") || !strings.Contains(text, "a***@example.net") || !strings.Contains(text, "news@shop.example") {
		t.Error(text)
	}
	if e.To[0].Address != "alice@example.net" || e.To[0].Said.Reply != "alice@example.net" || e.Scans[0].Symbols[0] != "alice@example.net" {
		t.Error("the event itself was changed")
	}
}

func TestMaskedStatusNamesNoRecipient(t *testing.T) {
	s := admin.Status{Upstreams: []admin.UpstreamHost{{LastError: "550 <alice@example.net>"}},
		Readiness: admin.Readiness{Reasons: []admin.Reason{{Text: "alice@example.net"}}, Degraded: []admin.Reason{{Text: "alice@example.net"}}}}
	if text := string(mustJSON(t, hideStatus(access.Caller{Role: access.View}, s))); strings.Contains(text, "alice") {
		t.Error(text)
	}
	if text := string(mustJSON(t, hideStatus(access.Caller{Role: access.Operate}, s))); strings.Count(text, "alice@example.net") != 3 {
		t.Error(text)
	}
}
