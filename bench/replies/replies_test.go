package main

import (
	"strings"
	"testing"

	"postern/mail"
	"postern/upstream/replies/vote"
)

const data = "../../upstream/replies/testdata"

// TestUnseenRepliesAreUnderstood holds the classifier to what was asked of it, on
// lines of sources that the model has not seen.
func TestUnseenRepliesAreUnderstood(t *testing.T) {
	lines, err := load(data, files...)
	if err != nil {
		t.Fatal(err)
	}
	verdicts := validate(lines, func(l *line) string { return l.source })
	collected := newTally()
	for i := range lines {
		if l := &lines[i]; l.file == "replies-2.tsv" {
			collected.add(l, verdicts[i].class)
		}
	}
	if share(collected.right, collected.n) < 0.90 || collected.macro() < 0.85 || share(collected.found, collected.listed) < 0.95 || share(collected.falsely, collected.rest) > 0.01 {
		var b strings.Builder
		collected.row(&b, "replies-2.tsv")
		t.Error(b.String())
	}
}

// TestWeightsAreThoseOfTheData: who changes lexicon or data trains anew.
func TestWeightsAreThoseOfTheData(t *testing.T) {
	lines, err := load(data, files...)
	if err != nil {
		t.Fatal(err)
	}
	trained := train(lines, func(*line) bool { return true })
	for i := range lines {
		got, want := vote.BuiltIn().Weigh(lines[i].read), trained.Weigh(lines[i].read)
		// Other processors round the last digits otherwise.
		if d := got.Sure - want.Sure; got.Guess != want.Guess && want.Sure > 0.5 || d > 0.05 || d < -0.05 {
			t.Fatalf("%q: %s %.2f, trained on the data %s %.2f; go run ./bench/replies -train upstream/replies/vote/weights.txt",
				lines[i].reply, got.Guess, got.Sure, want.Guess, want.Sure)
		}
	}
}

func TestFoldsKeepGroupsTogether(t *testing.T) {
	var lines []line
	for i := range 60 {
		lines = append(lines, line{source: string(rune('a' + i%7)), class: mail.ClassOther})
	}
	fold := folds(lines, func(l *line) string { return l.source }, 3)
	var n [3]int
	for i := range lines {
		n[fold[lines[i].source]]++
	}
	if len(fold) != 7 || n[0] < 15 || n[1] < 15 || n[2] < 15 {
		t.Error(fold, n)
	}
}
