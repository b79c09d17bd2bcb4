package reputation

import (
	"fmt"
	"testing"
	"time"

	"postern/internal/dnstest"
	"postern/mail"
)

func mailOf(stream, client, sender, domain string) Mail {
	return Mail{Stream: stream, Client: client, Sender: mail.Identity(sender), Domain: domain}
}

var mine = mailOf("main", "shop", "a@shop.example", "mx.example")

// waits is how long m waits where it is no trial; a trial is -1.
func (b *Backoff) waits(m Mail) time.Duration {
	left, trial := b.Left(m)
	if trial {
		return -1
	}
	return left
}

func TestBackoffDoublesUpToHalfAnHour(t *testing.T) {
	c := dnstest.NewClock()
	b := NewBackoff(c.Now)
	var got []time.Duration
	for range 8 {
		b.Refused(mine, 0, "450 slow down")
		left := b.waits(mine)
		got = append(got, left)
		c.Add(left)
		if b.waits(mine) != 0 {
			t.Fatal("it waits beyond its time")
		}
	}
	if s := fmt.Sprint(got); s != "[1m0s 2m0s 4m0s 8m0s 16m0s 30m0s 30m0s 30m0s]" {
		t.Errorf("waits %s", s)
	}
	if b.waits(mailOf("side", "shop", "a@shop.example", "mx.example")) != 0 || b.waits(mailOf("main", "shop", "a@shop.example", "other.example")) != 0 {
		t.Error("another stream or destination waits")
	}
	c.Add(3 * time.Hour)
	b.Refused(mine, 0, "450 slow down")
	if d := b.waits(mine); d != time.Minute {
		t.Errorf("after hours without a refusal: %v", d)
	}
}

// TestBackoffBindsWhomItWasSaidTo: one sender, then its client, then the stream.
func TestBackoffBindsWhomItWasSaidTo(t *testing.T) {
	c := dnstest.NewClock()
	b := NewBackoff(c.Now)
	second := mailOf("main", "shop", "b@shop.example", "mx.example")
	third := mailOf("main", "shop", "c@shop.example", "mx.example")
	bank := mailOf("main", "bank", "pay@bank.example", "mx.example")
	all := func() string {
		return fmt.Sprint(b.waits(mine), " ", b.waits(second), " ", b.waits(third), " ", b.waits(bank))
	}
	for _, step := range []struct {
		m    Mail
		want string
	}{
		{mine, "30m0s 0s 0s 0s"},               // a day was named
		{mine, "30m0s 0s 0s 0s"},               // the same one again counts once
		{second, "24h0m0s 24h0m0s 24h0m0s 0s"}, // its client
		{bank, "24h0m0s 24h0m0s 24h0m0s 24h0m0s"},
	} {
		b.Refused(step.m, 24*time.Hour, "450 try again in 24 hours")
		if got := all(); got != step.want {
			t.Errorf("after %s heard it: %s, want %s", step.m.Sender, got, step.want)
		}
	}
	if n := len(b.List()); n != 3 {
		t.Errorf("%d entries: %+v", n, b.List())
	}
	b.Refused(mine, 1000*time.Hour, "450 try again in 1000 hours")
	if d := b.waits(mine); d != longestNamed {
		t.Errorf("waits %v, want at most %v", d, longestNamed)
	}
}

// TestBackoffEndsByTrial: of each client one message now and then goes through.
func TestBackoffEndsByTrial(t *testing.T) {
	c := dnstest.NewClock()
	b := NewBackoff(c.Now)
	bank := mailOf("main", "bank", "pay@bank.example", "mx.example")
	for _, m := range []Mail{mine, bank} {
		b.Refused(m, 20*time.Minute, "450 later")
	}
	c.Add(trialEvery - time.Second)
	if b.waits(mine) <= 0 {
		t.Fatal("tried too early")
	}
	c.Add(time.Second)
	if got := fmt.Sprint(b.waits(mine), b.waits(mine) > 0, b.waits(bank), b.waits(bank) > 0); got != "-1ns true -1ns true" {
		t.Fatalf("trials: %s", got) // who takes all of his own has taken none of others
	}
	b.Refused(mine, 20*time.Minute, "450 later")
	if b.waits(mine) <= 0 {
		t.Error("a trial that was refused ended the wait")
	}
	b.Relayed(mine, false) // of a connection that was open before
	if b.waits(mine) <= 0 {
		t.Error("a message that was under way ended the wait")
	}
	b.Relayed(bank, true)
	if b.waits(mine) != 0 || b.waits(bank) != 0 || len(b.List()) != 0 || b.any.Load() {
		t.Errorf("a trial was taken, yet %+v waits", b.List())
	}
}

func TestBackoffStartsAnewWhenMailIsTaken(t *testing.T) {
	c := dnstest.NewClock()
	b := NewBackoff(c.Now)
	b.Refused(mine, 0, "450 later")
	c.Add(time.Minute)
	b.Relayed(mine, false)
	b.Refused(mine, 0, "450 later")
	if d := b.waits(mine); d != time.Minute {
		t.Errorf("after mail was taken the next wait is %v, want 1m", d)
	}
}

func TestBackoffPausesWholeStreams(t *testing.T) {
	c := dnstest.NewClock()
	b := NewBackoff(c.Now)
	b.Pause("main", c.Now().Add(time.Hour))
	b.Refused(mine, 0, "450 later")
	other := mailOf("main", "bank", "pay@bank.example", "any.example")
	if b.waits(other) != trialEvery || b.waits(mine) != trialEvery { // then it is worth a trial
		t.Error("a paused stream does not wait")
	}
	if n := len(b.List()); n != 2 {
		t.Errorf("%d entries", n)
	}
	c.Add(trialEvery)
	b.Pause("main", c.Now().Add(time.Hour)) // renewed
	if got := fmt.Sprint(b.waits(other), b.waits(other) > 0, b.waits(mine)); got != "-1ns true -1ns" {
		t.Errorf("trials of a paused stream: %s", got)
	}
	if !b.Resume("main") || b.waits(other) != 0 {
		t.Error("Resume let no mail go on")
	}
	if b.Resume("main") {
		t.Error("resumed twice")
	}
}

func TestBackoffEndsByCommand(t *testing.T) {
	c := dnstest.NewClock()
	b := NewBackoff(c.Now)
	for _, d := range []string{"a.example", "b.example"} {
		for _, s := range []string{"main", "side"} {
			b.Refused(mailOf(s, "shop", "a@shop.example", d), 0, "450 later")
		}
	}
	if n := b.End("side", "a.example"); n != 1 || len(b.List()) != 3 {
		t.Errorf("ended %d, %d are left", n, len(b.List()))
	}
	if n := b.End("", "b.example"); n != 2 || len(b.List()) != 1 {
		t.Errorf("ended %d, %d are left", n, len(b.List()))
	}
	if n := b.End("main", ""); n != 1 || b.End("main", "") != 0 || b.any.Load() {
		t.Errorf("ended %d, %d are left", n, len(b.List()))
	}
}

func TestBackoffStaysBounded(t *testing.T) {
	c := dnstest.NewClock()
	b := NewBackoff(c.Now)
	for i := range maxBackoff + 1000 {
		b.Refused(mailOf("main", "shop", "a@shop.example", fmt.Sprintf("d%d.example", i)), 0, "450 later")
	}
	if n := len(b.pairs); n > maxBackoff {
		t.Errorf("%d pairs", n)
	}
}
