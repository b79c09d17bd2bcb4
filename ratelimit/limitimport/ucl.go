package limitimport

import "strings"

// uclTokens cuts a configuration of rspamd into texts and marks; a quoted text
// keeps a leading quote, to be told from a mark.
func uclTokens(text string) (tokens []string) {
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '#':
			i = uclEnd(text, i, "\n")
		case strings.HasPrefix(text[i:], "/*"):
			i = uclEnd(text, i+2, "*/")
		case c == '"' || c == '\'':
			end := i + 1
			for end < len(text) && text[end] != c {
				if text[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end, len(text))
			tokens = append(tokens, `"`+strings.ReplaceAll(text[i+1:end], `\"`, `"`))
			i = end + 1
		case strings.IndexByte("{}[]=;,", c) >= 0:
			tokens = append(tokens, string(c))
			i++
		case c == '\n':
			tokens = append(tokens, ";")
			i++
		case c == ' ' || c == '\t' || c == '\r':
			i++
		default:
			end := i
			for end < len(text) && strings.IndexByte("{}[]=;,#\"' \t\r\n", text[end]) < 0 {
				end++
			}
			tokens = append(tokens, text[i:end])
			i = end
		}
	}
	return tokens
}

// uclEnd is the place after the next mark, or the end.
func uclEnd(text string, from int, mark string) int {
	if end := strings.Index(text[min(from, len(text)):], mark); end >= 0 {
		return from + end + len(mark)
	}
	return len(text)
}

type uclParser struct {
	tokens []string
	at     int
}

const maxUCLDepth = 20

func (p *uclParser) next() string {
	if p.at >= len(p.tokens) {
		return ""
	}
	p.at++
	return p.tokens[p.at-1]
}

func (p *uclParser) peek() string {
	if p.at >= len(p.tokens) {
		return ""
	}
	return p.tokens[p.at]
}

// object reads "key = value;" and "key { ... }" up to "}" or the end. What it
// does not understand it passes over.
func (p *uclParser) object(depth int) *uclNode {
	n := &uclNode{table: map[string]*uclNode{}}
	for {
		key := p.next()
		switch key {
		case "", "}":
			return n
		case ";", ",", "=", "{", "[", "]":
			continue
		}
		key = p.name(key)
		for p.peek() == "=" || p.peek() == ":" {
			p.next()
		}
		n.put(key, p.value(depth))
	}
}

// name takes the ":" off a bare key, and what stands right behind it back to
// the tokens: "burst:100".
func (p *uclParser) name(key string) string {
	if bare, quoted := strings.CutPrefix(key, `"`); quoted {
		return bare
	}
	name, rest, found := strings.Cut(key, ":")
	if found && rest != "" {
		p.at--
		p.tokens[p.at] = rest
	}
	return name
}

// put keeps a value. Of a key that is repeated the first one counts; tables are
// joined.
func (n *uclNode) put(key string, value *uclNode) {
	old := n.table[key]
	if old == nil {
		n.keys = append(n.keys, key)
		n.table[key] = value
		return
	}
	if old.table != nil && value.table != nil {
		for _, k := range value.keys {
			old.put(k, value.table[k])
		}
	}
}

func (p *uclParser) value(depth int) *uclNode {
	if depth > maxUCLDepth {
		p.at = len(p.tokens)
		return &uclNode{}
	}
	switch t := p.peek(); t {
	case "{":
		p.next()
		return p.object(depth + 1)
	case "[":
		p.next()
		return p.array(depth + 1)
	case "", ";", "}", "]", ",":
		return &uclNode{}
	}
	// A bare value goes on to the end of its line: 20 / 1h.
	var words []string
	for {
		switch p.peek() {
		case "", ";", ",", "}", "]", "{", "[", "=":
			return &uclNode{text: strings.Join(words, " ")}
		}
		words = append(words, strings.TrimPrefix(p.next(), `"`))
	}
}

func (p *uclParser) array(depth int) *uclNode {
	n := &uclNode{list: []*uclNode{}}
	for {
		switch p.peek() {
		case "", "]":
			p.next()
			return n
		case ",", ";", "=", "}":
			p.next()
			continue
		}
		n.list = append(n.list, p.value(depth))
	}
}
