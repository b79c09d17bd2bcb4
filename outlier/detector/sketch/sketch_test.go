package sketch

import "testing"

// TestWhatIsAddedStays as long as there is room, whatever form it goes through, and what
// was used last stays longest.
func TestWhatIsAddedStays(t *testing.T) {
	k, all := New(10_000), uint64(4000)
	for i := range all {
		k.Add(1, HashOf(Seed{1, 2}, []byte{byte(i), byte(i >> 8)}))
	}
	o := New(10_000)
	o.Fill(k.Copy().Append(nil))
	p := New(10_000)
	for chunk := range k.Chunks() {
		b, changed := k.Changed(chunk)
		if !changed {
			t.Errorf("part %d is not told of", chunk)
		}
		p.Merge(chunk, b)
		if n, without := New(10_000).Take(k, chunk); n == 0 || without != 0 {
			t.Errorf("%d taken, %d without room", n, without)
		}
	}
	for i := range all {
		h := Seed{1, 2}.Hash(string([]byte{byte(i), byte(i >> 8)}))
		if !k.Has(1, h) || !o.Has(1, h) || !p.Has(1, h) {
			t.Fatalf("%d is forgotten", i)
		}
	}
	if k.Forgotten() != 0 || k.Blank() || !New(10).Blank() {
		t.Errorf("%d forgotten, blank %v", k.Forgotten(), k.Blank())
	}
}
