package main

// loudSpray sends from a new name for each message to so many recipients that the
// name is under alarm at once: what stops it is the alarm of its client.
func loudSpray(s *scene) {
	s.clientMoments(6, func(client int, moment int64) {
		a := attack{client: client, wide: true}
		rcpts, share := 10+s.rng.IntN(91), 0.3*s.rng.Float64()
		at := times(s.rng, 60, moment, 3600)
		for i, t := range at {
			for clientOf(s.senders) != client {
				s.senders++
			}
			from := s.newSender()
			a.senders = append(a.senders, from)
			s.send(&a, from, []int64{t}, func(int64) event {
				return event{rcpts: s.unseen(rcpts), refused: s.refuse(rcpts, share)}
			}, i == len(at)-1)
		}
	})
}

// giveUsers makes all mail that of SASL users, one for each sender.
func (r *recording) giveUsers() {
	for i := range r.events {
		r.events[i].user = r.events[i].sender + 1
	}
}

// framing sends in the names of colleagues, by the users of others of the same
// client: what stops it is the alarm of the user.
func framing(s *scene) {
	s.giveUsers()
	s.frame(func(int32) {})
}

// framed touches those in whose names that was.
func framed(s *scene) map[int32]int64 {
	s.giveUsers()
	s.frame(func(victim int32) { s.honest[victim] = true })
	return nil
}

// frame lets 60 users send 60 messages each in the name of a colleague, to five
// strangers each.
func (s *scene) frame(tell func(victim int32)) {
	victims, moments := s.targets(120, func(int32) bool { return true })
	done := 0
	for i, victim := range victims {
		thief := s.colleague(victim)
		if thief < 0 || done == 60 {
			continue
		}
		done++
		tell(victim)
		a := attack{senders: []int32{victim}, client: clientOf(victim), user: thief + 1}
		s.send(&a, victim, times(s.rng, 60, moments[i], 3600), func(int64) event {
			return event{rcpts: s.unseen(5), refused: s.refuse(5, 0.15), user: thief + 1}
		}, true)
	}
}

// colleague is somebody else with the same client who has sent a little; -1 when
// nobody has.
func (s *scene) colleague(of int32) int32 {
	for range 1000 {
		c := int32(s.rng.IntN(int(s.recording.senders)))
		if c != of && clientOf(c) == clientOf(of) && int(c) < len(s.of) && len(s.of[c]) >= 30 {
			return c
		}
	}
	return -1
}
