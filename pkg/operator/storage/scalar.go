package storage

import (
	"strconv"

	"sigs.k8s.io/yaml"
)

// Scalar writes a value as a YAML scalar that reads back as the same string: the registry parses every
// variable as YAML, so 0123, true or an empty text would arrive as something else.
func Scalar(value string) string {
	if value == "" {
		return `""`
	}
	var back any
	if err := yaml.Unmarshal([]byte(value), &back); err == nil {
		if text, ok := back.(string); ok && text == value {
			return value
		}
	}
	return strconv.Quote(value)
}
