package api

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"postern/outlier"
)

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestEnumsHaveAllValues: a state that the watch can tell is one that the description has.
func TestEnumsHaveAllValues(t *testing.T) {
	levels := string(mustJSON(t, enums[reflect.TypeFor[outlier.Level]()]))
	for l := outlier.Normal; l <= outlier.Suspended; l++ {
		if !strings.Contains(levels, `"`+l.String()+`"`) {
			t.Errorf("%s is not among %s", l, levels)
		}
	}
}
