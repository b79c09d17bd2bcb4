// Package vote weighs the words of a refusal where no rule knows it.
//
// Receivers word the same thing in a hundred ways and a dozen languages: "user
// unknown", "no mailbox of that name", "Empfänger unbekannt". A lexicon maps words
// to concepts (user, unknown, list, address, ...); concepts, pairs of neighbours,
// single words, the reply code, the enhanced status code and the stage are the
// tokens of a reply. Each token has a weight for each class, learned from replies
// whose class is known by multinomial logistic regression; the class with the
// largest sum wins, and how far it wins says how sure that is.
//
// Both files can be read: lexicon.txt is written by hand, weights.txt by
// "go run ./bench/replies -train".
package vote
