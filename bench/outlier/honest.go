package main

import "math"

// honestKind is a row of the table of honest traffic.
type honestKind struct {
	name string
	// change adds the traffic, and says until when alarms on whom are excused.
	change func(s *scene) (excused map[int32]int64)
	target float64 // extra alarms for each touched sender at most; 0: none
	users  bool    // each sender has a SASL user
}

var honestKinds = []honestKind{
	{name: "monday", change: monday, target: 0.03},
	{name: "newsletter", change: newsletter, target: 0.03},
	{name: "digest", change: digest, target: 0.03},
	{name: "holiday", change: holiday, target: 0.03},
	{name: "outage", change: outage, target: 0.03},
	{name: "newhire", change: newHire, target: 0.05},
	{name: "growth", change: growth, target: 0.1},
	{name: "mailmerge", change: mailMerge},
	{name: "invite", change: invite},
	{name: "framed", change: framed, target: 0.03, users: true},
	{name: "monthly", change: regularly(30), target: 0.03},
	{name: "quarterly", change: regularly(91), target: 0.03},
}

// regularly lets 20 senders of the recording write to the same 120 recipients within an
// hour every so many days, 3 % of them new each time. The first three times are excused.
func regularly(days int64) func(s *scene) map[int32]int64 {
	return func(s *scene) map[int32]int64 {
		excused := map[int32]int64{}
		last := s.events[len(s.events)-1].at
		senders, moments := s.targets(20, func(int32) bool { return true })
		for i, from := range senders {
			list := s.unseen(120)
			for run, at := 0, moments[i]; at < last; run, at = run+1, at+days*86400 {
				for range 4 {
					list[s.rng.IntN(len(list))] = s.newRcpt()
				}
				for j, t := range times(s.rng, len(list), at, 3600) {
					s.touch(event{at: t, sender: from, rcpts: []int32{list[j]}, refused: s.refuse(1, 0.005)})
				}
				if run < 3 {
					excused[from] = at + 2*86400
				}
			}
		}
		return excused
	}
}

func weekday(at int64) int { return int((at/86400 + 4) % 7) } // 0 is Sunday

func (s *scene) touch(e event) {
	e.touched = true
	s.honest[e.sender] = true
	s.added = append(s.added, e)
}

func monday(s *scene) map[int32]int64 {
	for i := range s.events {
		e := &s.events[i]
		if h := e.at % 86400 / 3600; weekday(e.at) == 1 && h >= 8 && h < 11 {
			s.touch(*e)
		}
	}
	return nil
}

// span is a random start after 60 days and the end of the recording.
func (s *scene) span() (start, end int64) {
	first, last := s.events[0].at+60*86400, s.events[len(s.events)-1].at
	return first + int64(s.rng.Float64()*float64(last-first)/2), last
}

func newsletter(s *scene) map[int32]int64 {
	excused := map[int32]int64{}
	for range 20 {
		from := s.newSender()
		list := s.unseen(500)
		start, end := s.span()
		for issue := 0; start < end; start, issue = start+30*86400, issue+1 {
			for range 15 {
				list[s.rng.IntN(500)] = s.newRcpt()
			}
			for i, t := range times(s.rng, 500, start, 3600) {
				s.touch(event{at: t, sender: from, rcpts: []int32{list[i]}, refused: s.refuse(1, 0.005)})
			}
			if issue < 3 {
				excused[from] = start + 2*86400
			}
		}
	}
	return excused
}

func digest(s *scene) map[int32]int64 {
	excused := map[int32]int64{}
	for range 20 {
		from := s.newSender()
		list := s.unseen(200)
		start, end := s.span()
		first := (start/86400+1)*86400 + 6*3600
		for t := first; t < end; t += 86400 {
			s.touch(event{at: t, sender: from, rcpts: list, refused: s.refuse(200, 0.005)})
		}
		excused[from] = first + 4*86400 - 3600
	}
	return excused
}

func growth(s *scene) map[int32]int64 {
	senders, moments := s.targets(120, func(int32) bool { return true })
	for i, sender := range senders {
		for _, j := range s.of[sender] {
			e := s.events[j]
			week := (e.at - moments[i]) / (7 * 86400)
			if e.at < moments[i] || week >= 20 {
				continue
			}
			more := math.Pow(1.08, float64(week+1)) - 1
			for ; more > 0; more-- {
				if s.rng.Float64() < more {
					c := e
					c.at += int64(s.rng.Float64() * 7200)
					s.touch(c)
				}
			}
		}
	}
	return nil
}

func holiday(s *scene) map[int32]int64 {
	senders, moments := s.targets(120, func(int32) bool { return true })
	gone := map[int]bool{}
	for i, sender := range senders {
		back := int64(-1)
		for _, j := range s.of[sender] {
			e := s.events[j]
			switch {
			case e.at < moments[i]:
			case e.at < moments[i]+21*86400:
				gone[int(j)] = true
			case back < 0 || e.at/86400 == back:
				back = e.at / 86400
				s.touch(e)
				s.touch(e)
			}
		}
		s.honest[sender] = true
	}
	kept := s.events[:0]
	for i, e := range s.events {
		if !gone[i] {
			kept = append(kept, e)
		}
	}
	s.events = kept
	return nil
}

func newHire(s *scene) map[int32]int64 {
	models, _ := s.targets(20, func(int32) bool { return true })
	for _, model := range models {
		from := s.newSender()
		start, _ := s.span()
		shift := start/86400*86400 - s.recordedAt(s.of[model][0])/86400*86400
		for _, j := range s.of[model] {
			e := s.events[j]
			e.at, e.sender = e.at+shift, from
			s.touch(e)
		}
	}
	return nil
}

func outage(s *scene) map[int32]int64 {
	type when struct {
		client int
		day    int64
	}
	days := map[when]bool{}
	s.clientMoments(4, func(client int, at int64) { days[when{client, at / 86400}] = true })
	for i := range s.events {
		e := &s.events[i]
		h := e.at % 86400 / 3600
		if h < 9 || h >= 13 || !days[when{clientOf(e.sender), e.at / 86400}] {
			continue
		}
		e.at = e.at/86400*86400 + 13*3600 + int64(s.rng.Float64()*600)
		e.touched = true
		s.honest[e.sender] = true
	}
	return nil
}

func mailMerge(s *scene) map[int32]int64 {
	senders, moments := s.targets(120, func(int32) bool { return true })
	for i, sender := range senders {
		for _, t := range times(s.rng, 40, moments[i], 1800) {
			s.touch(event{at: t, sender: sender, rcpts: s.unseen(1), refused: s.refuse(1, 0.03)})
		}
	}
	return nil
}

func invite(s *scene) map[int32]int64 {
	senders, moments := s.targets(120, func(int32) bool { return true })
	for i, sender := range senders {
		s.touch(event{at: moments[i], sender: sender, rcpts: s.unseen(60), refused: s.refuse(60, 0.03)})
	}
	return nil
}
