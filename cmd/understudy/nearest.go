package main

import "strings"

// nearest is the word that somebody meant who wrote something else: at most a third of its letters differ. Hyphen and underscore, case and
// a plural are common slips and cost little.
func nearest(written string, words []string) (string, bool) {
	if len(written) > 64 {
		return "", false
	}
	written = fold(written)
	best, bestCost := "", 0
	for _, word := range words {
		cost := distance(written, fold(word))
		if cost <= max(1, len(word)/3) && (best == "" || cost < bestCost) {
			best, bestCost = word, cost
		}
	}
	return best, best != ""
}

func fold(s string) string { return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s)) }

// distance is the Damerau-Levenshtein distance (optimal string alignment) of two words in octets.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
