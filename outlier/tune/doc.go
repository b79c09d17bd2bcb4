// Package tune finds the sensitivity of the outlier watch that raises as many false
// alarms as an operator accepts.
//
// An operator knows how often he wants to be called for nothing, and not what a score
// is. So the past mail of the journal is played through the detector at several
// sensitivities, and the alarms are counted: with all clients, users and senders
// together, scaled to a year. Then attacks are added to the same mail, and it is counted
// how many messages each lets out before its alarm. The one is the price, the other is
// what it buys.
//
// A journal of some weeks holds few alarms. So what was measured on our recordings
// (docs/outliers.md) counts as much as two alarms do, and the longer the journal, the
// less. The first days of a journal only teach the detector who sends, and are not
// counted.
//
// Who sends through the relay must not be able to push the sensitivity away: the alarms
// of one account count once in thirty days, those of one client no more than three times
// what its size lets expect, those on whom an operator has suspended by hand not at all,
// and the sensitivity in force moves by no more than a twentieth a day, between
// [Least] and [Most].
//
// [Trace] holds past mail, [Measure] makes a [Table] of it, and [Keeper] does both once
// a day beside the mail and keeps the result.
package tune
