package config

import (
	"fmt"
	"maps"
	"os"
	"strings"

	"go.yaml.in/yaml/v2"
)

// literalVariables makes texts of drivers survive the parser, which reads every variable as
// YAML: an access key 0123 would become 83, and a secret key that begins with @ an error.
// It returns a function that puts the environment back.
func literalVariables() (restore func()) {
	before := map[string]string{}
	for driver, options := range storageOptions {
		for key, one := range options {
			name := strings.ToUpper(envPrefix + "_storage_" + driver + "_" + key)
			value, set := os.LookupEnv(name)
			if !set || value == "" || one.kind != text && one.kind != address && one.kind != origin || isQuoted(value) {
				continue
			}
			quoted, err := yaml.Marshal(yamlText(value))
			if err != nil {
				continue
			}
			before[name] = value
			_ = os.Setenv(name, string(quoted)) // it was set under the same name
		}
	}
	return func() {
		for name, value := range before {
			_ = os.Setenv(name, value)
		}
	}
}

// yamlText is marshalled in quotes wherever a reader could take it for something else.
type yamlText string

// isQuoted tells whether a value is a YAML string in quotes, as operators write it.
func isQuoted(value string) bool {
	if len(value) < 2 || value[0] != value[len(value)-1] || value[0] != '"' && value[0] != '\'' {
		return false
	}
	var s string
	return yaml.Unmarshal([]byte(value), &s) == nil
}

// nestedVariables are settings two levels below a section of the storage. The parser drops
// them where the file has that section.
var nestedVariables = []string{
	"maintenance.readonly.enabled", "maintenance.uploadpurging.enabled", "maintenance.uploadpurging.age",
	"maintenance.uploadpurging.interval", "maintenance.uploadpurging.dryrun",
}

// applyNested sets what such variables say.
func (c *Config) applyNested() error {
	for _, key := range nestedVariables {
		name := strings.ToUpper(envPrefix + "_storage_" + strings.ReplaceAll(key, ".", "_"))
		raw, set := os.LookupEnv(name)
		if !set || raw == "" {
			continue
		}
		var value any
		if err := yaml.Unmarshal([]byte(raw), &value); err != nil {
			return fmt.Errorf("parsing environment variable %s: %w", name, err)
		}
		parts := strings.Split(key, ".")
		section := c.Configuration.Storage[parts[0]]
		if section == nil {
			section = map[string]any{}
			c.Configuration.Storage[parts[0]] = section
		}
		below := map[any]any{}
		switch existing := section[parts[1]].(type) {
		case map[any]any:
			maps.Copy(below, existing)
		case map[string]any:
			for k, v := range existing {
				below[k] = v
			}
		}
		below[parts[2]] = value
		section[parts[1]] = below
	}
	return nil
}
