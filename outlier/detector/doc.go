// Package detector tells from counts alone whether a sender behaves unlike itself.
//
// A stolen password or a runaway script changes three numbers at once: how many
// recipients a sender writes to, how many of them it has never written to before, and
// how many are refused because they do not exist or do not want the mail. None of them
// says much by itself, and no fixed limit fits both a lawyer and a shop. So each is
// counted in a rolling hour, in a rolling day, and in a sum that leaks away over a
// week, and is compared with the record of the same sender: the most that it ever had in
// that window, slowly forgotten, and growing by no more than some percent a day, so that
// nobody trains it in a hurry. How far a window is beyond its record, in widths that were
// measured on recorded mail, is the evidence of a kind; the sum of the three is the
// score, and 1 is the first alarm.
//
// Three rules keep the score honest. Mail counts for everybody it belongs to (the sender,
// its SASL user, its client), but the narrowest who explains it is to blame, and it is
// held against nobody around him. What comes regularly, such as invoices on each 30th,
// is remembered as a run and is not evidence when it is due again. And who is new, or
// alone at its client, is judged by a scale of its own.
//
// The package is pure. Events go in by [Detector.Count], with the time at which they
// happened; findings come out, with their reasons; [Detector.Profile] shows the numbers
// behind them. [Detector.Snapshot] and [Detector.Restore], and meter by meter
// [Detector.Touched] and [Detector.Merge], write and read what is known. It reads no clock
// and holds no lock, file or connection: what follows from a score, and for how long, is
// the matter of package outlier.
package detector
