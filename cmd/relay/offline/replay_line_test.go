package offline

import "testing"

func FuzzReplayLine(f *testing.F) {
	f.Add("1700000000 a shop 1 r 0")
	f.Add("1700000000.5 a shop 2 r,s 1")
	f.Add("1700000000 a shop 1 r 0 192.0.2.7")
	f.Add("1700000000 a shop 1 r 0 2001:db8::/48 new,colleagues,name,listed,spam")
	f.Fuzz(func(t *testing.T, line string) {
		var m replayLine
		if m.parse(line) != nil {
			return
		}
		if m.at < 0 || m.sender == "" || m.client == "" || len(m.rcpts) == 0 || m.refused < 0 || m.refused > len(m.rcpts) {
			t.Errorf("%q was taken as %+v", line, m)
		}
	})
}
