package importer

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// versionTag matches 5.1, v5.1, 5.1-rc1 and 5.1.3, v5.1.3-beta+2: what follows the numbers
// is a pre-release.
var versionTag = regexp.MustCompile(`^(v?)([0-9]+)\.([0-9]+)(?:\.([0-9]+))?(?:-([0-9A-Za-z.-]+))?$`)

// Ranks of tags; a smaller one is more important.
const (
	rankLatest = iota
	rankMinor
	rankFull
	rankOther
)

// rankedTag is a tag with all that its place depends on.
type rankedTag struct {
	name string
	rank int
	// numbers are major, minor and, of a full version, patch, without leading zeros.
	numbers    [3]string
	prerelease string
	prefixed   bool
}

// prioritise sorts tags by importance: latest, minor versions from the newest, full
// versions from the newest, everything else by name. An empty name means latest, and a
// repeated one counts once.
func prioritise(names []string) []string {
	ranked := make([]rankedTag, 0, len(names))
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		if name == "" {
			name = "latest"
		}
		if !seen[name] {
			seen[name] = true
			ranked = append(ranked, rankTag(name))
		}
	}
	slices.SortFunc(ranked, compareTags)
	sorted := make([]string, 0, len(ranked))
	for _, tag := range ranked {
		sorted = append(sorted, tag.name)
	}
	return sorted
}

func rankTag(name string) rankedTag {
	if name == "latest" {
		return rankedTag{name: name, rank: rankLatest}
	}
	parts := versionTag.FindStringSubmatch(name)
	if parts == nil {
		return rankedTag{name: name, rank: rankOther}
	}
	tag := rankedTag{
		name: name, rank: rankMinor, prefixed: parts[1] != "", prerelease: parts[5],
		numbers: [3]string{number(parts[2]), number(parts[3])},
	}
	if parts[4] != "" {
		tag.rank, tag.numbers[2] = rankFull, number(parts[4])
	}
	return tag
}

// number drops leading zeros. Numbers stay text: a tag may hold more digits than an integer.
func number(digits string) string {
	if trimmed := strings.TrimLeft(digits, "0"); trimmed != "" {
		return trimmed
	}
	return "0"
}

// compareTags is a total order: different names never compare as equal.
func compareTags(a, b rankedTag) int {
	if order := cmp.Compare(a.rank, b.rank); order != 0 {
		return order
	}
	if a.rank == rankMinor || a.rank == rankFull {
		for i := range a.numbers {
			if order := compareNumbers(b.numbers[i], a.numbers[i]); order != 0 {
				return order
			}
		}
		if order := comparePrereleases(b.prerelease, a.prerelease); order != 0 {
			return order
		}
		if a.prefixed != b.prefixed {
			if b.prefixed {
				return -1
			}
			return 1
		}
	}
	return strings.Compare(a.name, b.name)
}

func compareNumbers(a, b string) int {
	if order := cmp.Compare(len(a), len(b)); order != 0 {
		return order
	}
	return strings.Compare(a, b)
}

// comparePrereleases follows semantic versioning: none is newer than any, identifiers are
// compared one by one, numbers as numbers and before words, and the longer list wins.
func comparePrereleases(a, b string) int {
	if a == "" || b == "" {
		return cmp.Compare(len(b), len(a))
	}
	left, right := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(left), len(right)) {
		if order := compareIdentifiers(left[i], right[i]); order != 0 {
			return order
		}
	}
	return cmp.Compare(len(left), len(right))
}

func compareIdentifiers(a, b string) int {
	aNumeric, bNumeric := isNumber(a), isNumber(b)
	switch {
	case aNumeric && bNumeric:
		return compareNumbers(number(a), number(b))
	case aNumeric:
		return -1
	case bNumeric:
		return 1
	}
	return strings.Compare(a, b)
}

func isNumber(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}
