package config

import (
	"fmt"
	"slices"
	"strings"
)

// nearest returns the word of list that text was probably meant to be, or "".
func nearest(text string, list []string) string {
	best, distance := "", 1+max(1, len(text)/3)
	for _, word := range list {
		if d := editDistance(strings.ToLower(text), strings.ToLower(word)); d < distance {
			best, distance = word, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, replacements and swaps of neighbours between two words.
func editDistance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// longestName is the longest unknown key that a problem repeats and compares in full.
const longestName = 60

// unknownKey says what to write instead of a key that a section doesn't know.
func unknownKey(key string, known []string) string {
	if len(key) > longestName {
		return "is an unknown key; known here: " + strings.Join(known, ", ")
	}
	if folded := strings.NewReplacer(".", "", "_", "", "-", "").Replace(strings.ToLower(key)); strings.Contains(folded, "instanceid") || folded == "staticmembership" {
		return "static membership is refused, since a member that comes back within the session timeout would start " +
			"before its old handlers ended; remove the key"
	}
	if word := nearest(key, known); word != "" {
		return fmt.Sprintf("is an unknown key; did you mean %s?", word)
	}
	if places := placesOf(key); len(places) > 0 {
		return fmt.Sprintf("is an unknown key here; write it as %s", strings.Join(places, " or "))
	}
	return "is an unknown key; known here: " + strings.Join(known, ", ")
}

// placesOf lists the paths whose last key is key.
func placesOf(key string) []string {
	var places []string
	for _, k := range Reference() {
		if k.Path == key || strings.HasSuffix(k.Path, "."+key) {
			places = append(places, k.Path)
		}
	}
	slices.Sort(places)
	return places
}

// quoteChoices renders the allowed values of a key.
func quoteChoices(choices []string) string {
	if len(choices) < 2 {
		return strings.Join(choices, "")
	}
	return strings.Join(choices[:len(choices)-1], ", ") + " or " + choices[len(choices)-1]
}
