package syntax

import "bytes"

// MaxLine is how long a line of a message may be without its CR LF, in octets
// (RFC 5322 s. 2.1.1). What is longer a next hop may cut, and a signature over it
// then no longer fits.
const MaxLine = 998

// FoldLong returns header, whose lines end in CR LF, with each line over MaxLine
// folded before white space (RFC 5322 s. 2.2.3): unfolded it is what it was.
// long counts the lines that stay over MaxLine since they have no white space to
// fold at. Folded lines are never blank.
func FoldLong(header []byte) (folded []byte, long int) {
	folded = make([]byte, 0, len(header)+len(header)/MaxLine*2+2)
	for line := range bytes.Lines(header) {
		text := bytes.TrimRight(line, "\r\n")
		for len(text) > MaxLine {
			at := foldAt(text)
			if at == 0 || at > MaxLine {
				long++
			}
			if at == 0 {
				break
			}
			folded = append(append(folded, text[:at]...), "\r\n"...)
			line, text = line[at:], text[at:]
		}
		folded = append(folded, line...)
	}
	return folded, long
}

// foldAt is where text is folded: before the last white space that leaves a line
// of at most MaxLine, else before the first; 0 where there is none.
func foldAt(text []byte) (at int) {
	end := len(bytes.TrimRight(text, " \t"))
	start := len(text) - len(bytes.TrimLeft(text, " \t"))
	for i := start + 1; i < end; i++ {
		if !isBlank(text[i]) || isBlank(text[i-1]) {
			continue
		}
		if i > MaxLine {
			if at == 0 {
				at = i
			}
			break
		}
		at = i
	}
	return at
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// LongLines counts the lines of header over MaxLine.
func LongLines(header []byte) (n int) {
	for line := range bytes.Lines(header) {
		if len(bytes.TrimRight(line, "\r\n")) > MaxLine {
			n++
		}
	}
	return n
}
