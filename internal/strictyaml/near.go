package strictyaml

// Near returns the candidate that word was likely meant to be, or "" where
// none is near: at most one edit in three letters.
func Near(word string, candidates []string) string {
	best, bestDistance := "", len(word)/3+1
	if len(word) < 2 || len(word) > maxText {
		return ""
	}
	for _, c := range candidates {
		if d := Distance(word, c, bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// Distance returns how many letters must be put in, taken out, replaced or
// swapped with their neighbour to turn a into b; limit where it is not less.
func Distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	// The rows of the matrix for the letters of a: two before, before, this.
	before2, before, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		before[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(before[j]+1, row[j-1]+1, before[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before2[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least >= limit {
			return limit
		}
		before2, before, row = before, row, before2
	}
	return min(before[len(b)], limit)
}
