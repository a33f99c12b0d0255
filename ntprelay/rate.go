package ntprelay

// leak is how many of the answers that are too many are given all the same: one of so many.
// Whoever forges a client's address can use up its rate, but not silence it: it gets its
// answer at one of its next tries (as chrony's ratelimit, leak 2).
const leak = 4

// bucket is how many answers a client may have at once. The zero value is empty.
type bucket struct{ tokens float64 }

// take adds new tokens, up to burst, and reports whether there is one for an answer.
func (b *bucket) take(added, burst float64, random func() uint32) bool {
	if b.spend(added, burst) {
		return true
	}
	b.tokens = min(burst, b.tokens+added)
	return random()%leak == 0
}

// spend is take without the leak: it changes nothing if there is no token.
func (b *bucket) spend(added, burst float64) bool {
	tokens := min(burst, b.tokens+added)
	if tokens < 1 {
		return false
	}
	b.tokens = tokens - 1
	return true
}
