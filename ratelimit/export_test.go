package ratelimit

// PartsOf is how many parts a key has; false for a text that is not a key.
func PartsOf(key string) (int, bool) {
	parts, ok := parseKey(key)
	return len(parts), ok
}

// SenderKey is the key of a sender as somebody has written it.
func SenderKey(sender string) string { return string(appendPart(nil, 0, PerSender, sender)) }
