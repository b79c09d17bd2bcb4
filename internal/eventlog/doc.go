// Package eventlog writes down what became of each mail transaction, and reads
// it back.
//
// A transaction ends in one [mail.Event], which goes to several observers. Two
// of them stand here. [NewLogObserver] writes the line "transaction" to the log:
// one line, the same 18 fields in the same order, for people and for tools such
// as grep. [Open] begins a journal: a file with one JSON object on each line,
// which holds everything that later questions need (who sent what to whom,
// what the limits counted, what the receiver said) and no secret. [Read] reads
// such files back, and is what `relay explain` and `relay simulate` begin with.
//
// Neither may delay mail. [LineWriter] gathers the lines of many sessions for
// one system call, and the journal goes to its file five times a second. When a
// disk or a terminal takes nothing, lines wait in bounded memory; those that
// find no room are counted, and their number is written as soon as something can
// be written again.
//
// [Strangers] stands before both and bounds what peers that are not clients can
// make us write.
package eventlog
