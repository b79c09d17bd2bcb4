// Package alert decides who is told what, and when: it knows the conditions that
// hold, tells each of them once until it is over, keeps what a receiver has not
// taken yet, and stays within bounds whatever happens.
//
// A condition is one thing that is wrong, named by its kind and what it is about:
// "suspended sender news@example.org". Sources report the conditions of a kind as
// they are now ([Board.Sync]) or one of them as it begins and ends ([Board.Open],
// [Board.Close]). From that the board makes notices, two for each condition: that it
// has begun and that it is over. Each channel has a queue of its own:
//
//   - at most [Hourly] notices leave by themselves in any hour; what comes beyond is
//     gathered into a digest, one in [DigestEvery] at most;
//   - what is handed out stays, under the same id, until the receiver has said that
//     it has it;
//   - a queue holds the newest [MaxQueue] notices, and counts those that it let go.
//
// A channel of form [Active] is different: it is told again and again what holds, as
// Alertmanager demands of its clients.
//
// The package asks no clock and no network: every call is given the time, and what is
// to be sent is handed out by [Board.Next] and answered by [Board.Done].
package alert
