package arch

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDeployFilesNameMetricsThatThereAre, in all that Prometheus and Grafana evaluate, and
// the dashboard is one: each panel asks for something, at a place of its own.
func TestDeployFilesNameMetricsThatThereAre(t *testing.T) {
	code := map[string]bool{}
	files, err := filepath.Glob("../../internal/admin/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			names(t, file, `"(relay_[a-z_]+)"`, code)
		}
	}
	for _, file := range []string{"../../deploy/prometheus-rules.yml", "../../deploy/grafana.json"} {
		used := map[string]bool{}
		names(t, file, `\b(relay_[a-z_]+)`, used)
		if len(used) < 10 {
			t.Errorf("%s names %d metrics", file, len(used))
		}
		for _, name := range slices.Sorted(maps.Keys(used)) {
			if base := strings.TrimSuffix(name, "_bucket"); !code[base] {
				t.Errorf("%s: %s is registered by nothing", file, name)
			}
		}
	}
	var board struct {
		UID    string
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ H, W, X, Y int }
			Targets []struct{ Expr string }
		}
	}
	text, err := os.ReadFile("../../deploy/grafana.json")
	if err != nil || json.Unmarshal(text, &board) != nil || board.UID == "" || len(board.Panels) < 10 {
		t.Fatalf("%v, %+v", err, board)
	}
	taken := map[[2]int]string{}
	for _, p := range board.Panels {
		if p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d asks for nothing", p.ID)
		}
		for x := range p.GridPos.W {
			at := [2]int{p.GridPos.X + x, p.GridPos.Y}
			if other := taken[at]; other != "" || at[0] >= 24 {
				t.Errorf("%s lies over %s", p.Title, other)
			}
			taken[at] = p.Title
		}
		for _, target := range p.Targets {
			if strings.Count(target.Expr, "(") != strings.Count(target.Expr, ")") || strings.Count(target.Expr, "{") != strings.Count(target.Expr, "}") {
				t.Errorf("%s: %s", p.Title, target.Expr)
			}
		}
	}
}

// TestRulesPointToDocumentation: each rule ends in a command or a section that there is.
func TestRulesPointToDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../deploy/prometheus-rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules := strings.Split(string(text), "- alert: ")[1:]
	section := regexp.MustCompile(`docs: (docs/[a-z]+\.md)(?:#([a-z_]+))?\n`)
	for _, rule := range rules {
		name, _, _ := strings.Cut(rule, "\n")
		m := section.FindStringSubmatch(rule)
		if m == nil {
			t.Errorf("%s names no section", name)
			continue
		}
		page, err := os.ReadFile("../../" + m[1])
		if err != nil || m[2] != "" && !regexp.MustCompile(`(?mi)^#+ `+m[2]+`$`).Match(page) {
			t.Errorf("%s: no section %s#%s", name, m[1], m[2])
		}
	}
	if len(rules) < 10 {
		t.Errorf("%d rules", len(rules))
	}
}
