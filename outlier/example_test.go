package outlier_test

import (
	"fmt"

	"postern/outlier"
)

// A sender that writes five letters each day to the same colleagues begins to write
// to strangers, one a second.
func ExampleReplay() {
	var cfg outlier.Config
	cfg.SetDefaults()
	r, err := outlier.NewReplay(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	const day = 86_400
	now := int64(20_000 * day)
	for range 100 {
		for i := range 5 {
			r.Message(now+int64(i)*3600, "anna@example.org", "office", []string{"ben@example.org"}, 0)
		}
		now += day
	}
	for i := range 100 {
		score, _ := r.Message(now+int64(i), "anna@example.org", "office", []string{fmt.Sprintf("stranger%d@example.net", i)}, 0)
		if score >= 1 {
			fmt.Println("alarm before the 30th letter:", i < 29)
			return
		}
	}
	// Output:
	// alarm before the 30th letter: true
}
