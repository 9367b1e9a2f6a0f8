package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// defaultRoot is where the filesystem driver keeps its files.
const defaultRoot = "/registry"

// StorageParameters returns the driver and its options, which it takes as they are.
func (c *Config) StorageParameters() (name string, parameters map[string]any, err error) {
	if name, err = c.StorageDriver(); err != nil {
		return "", nil, err
	}
	parameters = map[string]any{}
	maps.Copy(parameters, c.Configuration.Storage[name])
	if root, found := parameters["rootdirectory"]; name == "filesystem" && (!found || root == "") {
		parameters["rootdirectory"] = defaultRoot
	}
	return name, parameters, nil
}

// StoragePlace names the storage in errors: what an administrator has to look at. It holds
// no secrets.
func (c *Config) StoragePlace() string {
	name, parameters, err := c.StorageParameters()
	if err != nil {
		return ""
	}
	switch text := func(key string) string { s, _ := parameters[key].(string); return s }; name {
	case "filesystem":
		return "directory " + text("rootdirectory")
	case "s3", "s3aws":
		if endpoint := text("regionendpoint"); endpoint != "" {
			return fmt.Sprintf("S3 bucket %q at %s", text("bucket"), endpoint)
		}
		return fmt.Sprintf("S3 bucket %q in region %s", text("bucket"), text("region"))
	case "gcs":
		return fmt.Sprintf("GCS bucket %q", text("bucket"))
	case "azure":
		return fmt.Sprintf("Azure container %q of account %q", text("container"), text("accountname"))
	}
	return ""
}

// storageErrors checks the options of the configured driver, each by its key.
func (c *Config) storageErrors() (errs []error) {
	name, parameters, err := c.StorageParameters()
	if err != nil {
		return []error{err}
	}
	known, found := storageOptions[name]
	if !found {
		return []error{fmt.Errorf("storage: driver %q is not known, use one of %s", name, strings.Join(slices.Sorted(maps.Keys(storageOptions)), ", "))}
	}
	for _, key := range slices.Sorted(maps.Keys(known)) {
		value, set := parameters[key]
		if !set || value == nil || value == "" {
			if known[key].required {
				errs = append(errs, fmt.Errorf("storage.%s.%s: must be set", name, key))
			}
			continue
		}
		if err := known[key].check(value); err != nil {
			errs = append(errs, fmt.Errorf("storage.%s.%s: %w", name, key, err))
		}
	}
	return append(errs, c.storageRelations(name, parameters)...)
}

// storageRelations checks what concerns several options at once.
func (c *Config) storageRelations(name string, parameters map[string]any) (errs []error) {
	empty := func(key string) bool { value := parameters[key]; return value == nil || value == "" }
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("storage.%s.%s: %w", name, key, fmt.Errorf(format, args...)))
	}
	switch name {
	case "s3", "s3aws":
		if empty("region") && empty("regionendpoint") {
			bad("region", "must be set, unless regionendpoint is")
		}
		if empty("accesskey") != empty("secretkey") {
			bad("secretkey", "accesskey and secretkey must be set together, or both be empty to use the credentials of the environment")
		}
	case "filesystem":
		if root, _ := parameters["rootdirectory"].(string); !strings.HasPrefix(root, "/") {
			bad("rootdirectory", "%q must be an absolute path", root)
		}
	}
	return errs
}

// switchErrors checks the settings of the storage that are on or off.
func (c *Config) switchErrors() (errs []error) {
	for _, key := range []string{"redirect.disable", "maintenance.readonly.enabled"} {
		if value := c.storageSetting(key); value != nil {
			if _, ok := value.(bool); !ok {
				errs = append(errs, fmt.Errorf("storage.%s: %v must be true or false", key, value))
			}
		}
	}
	return errs
}

// storageSetting finds a value below the section storage; nil when it is not set.
func (c *Config) storageSetting(key string) any {
	parts := strings.Split(key, ".")
	var value any = map[string]any(c.Configuration.Storage[parts[0]])
	for _, part := range parts[1:] {
		switch section := value.(type) {
		case map[string]any:
			value = section[part]
		case map[any]any:
			value = section[part]
		default:
			return nil
		}
	}
	return value
}

// storageWarnings names what works and is better known.
func (c *Config) storageWarnings() (warnings []string) {
	name, parameters, err := c.StorageParameters()
	if err != nil {
		return nil
	}
	known := storageOptions[name]
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		if _, found := known[key]; !found {
			warnings = append(warnings, fmt.Sprintf("unknown configuration key: storage.%s.%s", name, key))
		}
	}
	if level, _ := parameters["loglevel"].(string); level != "" && !strings.EqualFold(level, "off") {
		warnings = append(warnings, fmt.Sprintf("storage.%s.loglevel: %s prints requests with their signatures to the log", name, level))
	}
	if skip, _ := parameters["skipverify"].(bool); skip {
		warnings = append(warnings, fmt.Sprintf("storage.%s.skipverify: whoever is between registry and storage can read and change images", name))
	}
	return warnings
}
