package config

import (
	"fmt"
	"strconv"
	"time"
)

// UploadPurging is storage.maintenance.uploadpurging: sessions of Age without a write
// are removed about once in each Interval.
type UploadPurging struct {
	Enabled       bool
	Age, Interval time.Duration
	DryRun        bool
}

// UploadPurging reads the section, which the storage engine leaves without types.
func (c *Config) UploadPurging() (UploadPurging, error) {
	purging := UploadPurging{Enabled: true, Age: 168 * time.Hour, Interval: 24 * time.Hour}
	const key = "storage.maintenance.uploadpurging"
	value, found := c.Configuration.Storage["maintenance"]["uploadpurging"]
	if !found || value == nil {
		return purging, nil
	}
	section, ok := value.(map[any]any)
	if !ok {
		return purging, fmt.Errorf("%s: must be a map with enabled, age, interval and dryrun", key)
	}
	for name, value := range section {
		text, err := fmt.Sprint(value), error(nil)
		switch name {
		case "enabled":
			purging.Enabled, err = strconv.ParseBool(text)
		case "dryrun":
			purging.DryRun, err = strconv.ParseBool(text)
		case "age":
			purging.Age, err = time.ParseDuration(text)
		case "interval":
			purging.Interval, err = time.ParseDuration(text)
		}
		if err != nil {
			return purging, fmt.Errorf("%s.%s: %q is not a value of its kind", key, name, text)
		}
	}
	if purging.Age <= 0 || purging.Interval <= 0 {
		return purging, fmt.Errorf("%s: age and interval must be positive", key)
	}
	return purging, nil
}

func (c *Config) maintenanceErrors() (errs []error) {
	if _, err := c.UploadPurging(); err != nil {
		errs = append(errs, err)
	}
	if c.Alauda.GC.MinAge <= 0 || c.Alauda.GC.VerifyDelay < 0 || c.Alauda.GC.Workers <= 0 {
		errs = append(errs, fmt.Errorf("alauda.gc: minage and workers must be positive, verifydelay not negative"))
	}
	return errs
}
