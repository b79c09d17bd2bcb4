package ratelimit

// FilterOf is the filter with what a key names; ok is false for a text that is not a key.
func FilterOf(key string) (f Filter, ok bool) {
	parts, ok := parseKey(key)
	for _, p := range parts {
		if p.d != PerAll {
			*f.Of(p.d) = p.value
		}
	}
	return f, ok
}
