package fair

import (
	"fmt"
	"testing"
)

func smaller(a, b int) bool { return a < b }

// TestInventedNamesPushOutTheirOwn: one client invents a hundred thousand, and the
// others, who have less than their part, keep all of theirs.
func TestInventedNamesPushOutTheirOwn(t *testing.T) {
	gone := map[string]int{}
	m := New(1000, smaller, func(client string, _ string, _ int) { gone[client]++ })
	for c := range 5 {
		for i := range 100 {
			m.Put(fmt.Sprint("honest", c), fmt.Sprint(i), i)
		}
	}
	for i := range 100_000 {
		m.Put("mta", fmt.Sprint("invented", i), 1_000_000+i)
	}
	if m.Len() != 1000 || len(gone) != 1 || gone["mta"] != 99_500 {
		t.Errorf("%d, gone %v", m.Len(), gone)
	}
	for i := range 60 {
		m.Put("honest1", fmt.Sprint("later", i), i)
	}
	if m.Len() != 1000 || gone["mta"] != 99_560 || len(gone) != 1 {
		t.Errorf("one with less than its part gets no room: %v", gone)
	}
	if v, ok := m.Get("honest1", "later59"); !ok || v != 59 {
		t.Error(v, ok)
	}
}

// TestTheLeastWorthGoes, and nothing that is put again takes another place.
func TestTheLeastWorthGoes(t *testing.T) {
	m := New[int](sample, smaller, nil)
	for i := range sample {
		m.Put("c", i, i+10)
	}
	m.Put("c", 5, 15)
	m.Put("c", 99, 99)
	if _, ok := m.Get("c", 0); ok || m.Len() != sample {
		t.Error("the least stayed", m.Len())
	}
	m.Keep(func(v int) bool { return v > 90 })
	n := 0
	for p, v := range m.All() {
		if n++; p.Client != "c" || p.Key != 99 || v != 99 {
			t.Error(p, v)
		}
	}
	if n != 1 || m.Len() != 1 {
		t.Error(n, m.Len())
	}
	m.Keep(func(int) bool { return false })
	if len(m.clients) != 0 || m.Len() != 0 {
		t.Error("clients stay")
	}
	one := New[int](0, smaller, nil)
	one.Put("a", 1, 1)
	one.Put("b", 1, 1)
	if one.Len() != 1 {
		t.Error("more than its room")
	}
}
