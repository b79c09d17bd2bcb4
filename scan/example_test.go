package scan_test

import (
	"fmt"

	"postern/scan"
)

// A refusal of one scanner ends the message, whatever the others say; a scanner that
// is only watched does not.
func ExampleDeciding() {
	list := []scan.Response{
		{Scanner: "av", Class: scan.Clean, Choice: scan.Pass},
		{Scanner: "dlp", Class: scan.Fault, Choice: scan.Defer},
		{Scanner: "new", Class: scan.Spam, Choice: scan.Pass, Shadow: true},
		{Scanner: "spam", Class: scan.Spam, Choice: scan.Refuse},
	}
	v := scan.Deciding(list)
	fmt.Println(v.Scanner, v.Class, v.Choice)
	// Output:
	// spam spam refuse
}
