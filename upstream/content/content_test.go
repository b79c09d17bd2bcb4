package content

import "testing"

func TestEightBitLooksWhereItIsTold(t *testing.T) {
	for name, tc := range map[string]struct {
		parts        []string
		header, body bool
	}{
		"nothing":                {[]string{""}, false, false},
		"ASCII":                  {[]string{"A: b\r\n\r\nc\r\n"}, false, false},
		"in the body":            {[]string{"A: b\r\n\r\n\xff"}, false, true},
		"in the header":          {[]string{"A: \xff\r\n\r\n"}, true, true},
		"header end in pieces":   {[]string{"A: b\r", "\n", "\r", "\n\xff"}, false, true},
		"header end at a seam":   {[]string{"A: b\r\n\r\n", "\xff"}, false, true},
		"no header":              {[]string{"\r\n\xff"}, false, true},
		"no header, in pieces":   {[]string{"\r", "\n", "\xff"}, false, true},
		"before a piecewise end": {[]string{"A: \xff\r", "\n\r", "\n"}, true, true},
		"no end of header":       {[]string{"A: b\r\n", "B: ccccccccccccccc\xff\r\n"}, true, true},
	} {
		c := Content{}
		for _, p := range tc.parts {
			c.Chunks = append(c.Chunks, []byte(p))
		}
		header, _ := c.EightBit(true)
		all, _ := c.EightBit(false)
		if header != tc.header || all != tc.body {
			t.Errorf("%s: header %v, all %v", name, header, all)
		}
	}
}
