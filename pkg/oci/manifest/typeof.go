package manifest

import (
	"bytes"
	"encoding/json"
)

// TypeOf returns the media type of a document that was checked when it was stored: what it
// names, else what its shape implies. It is for every pull, so it walks over the bytes and
// keeps nothing: within the limits a document can have members that take many times its
// size in memory. What is no manifest is called an OCI manifest.
func TypeOf(raw []byte) string {
	if !bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{")) {
		return OCIManifest
	}
	implied, depth, expectKey := OCIManifest, 0, false
	var key []byte
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '{', '[':
			depth++
			expectKey = depth == 1
		case '}', ']':
			depth--
		case ',':
			expectKey = depth == 1
		case '"':
			text, end := stringAt(raw, i)
			switch {
			case end < 0:
				return OCIManifest
			case depth == 1 && expectKey:
				key, expectKey = text, false
				if string(key) == "manifests" {
					implied = OCIIndex
				}
			case depth == 1 && string(key) == "mediaType" && len(text) > 0:
				if !isKnown(string(text)) {
					return OCIManifest
				}
				return string(text)
			}
			i = end
		}
	}
	return implied
}

// stringAt returns the text of the JSON string that begins at a position, and where its
// closing quote is: -1 without one.
func stringAt(raw []byte, start int) (text []byte, end int) {
	escaped := false
	for end = start + 1; end < len(raw); end++ {
		switch raw[end] {
		case '\\':
			escaped = true
			end++
		case '"':
			text = raw[start+1 : end]
			if escaped {
				var decoded string
				if json.Unmarshal(raw[start:end+1], &decoded) != nil {
					return nil, -1
				}
				text = []byte(decoded)
			}
			return text, end
		}
	}
	return nil, -1
}
