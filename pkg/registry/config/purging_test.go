package config

import (
	"strings"
	"testing"
	"time"
)

func parseMaintenance(t *testing.T, maintenance, gc string) (*Config, error) {
	t.Helper()
	c, _, err := Parse([]byte("version: 0.1\nstorage: {inmemory: {}, maintenance: " + maintenance + "}\nalauda: {server: {addr: 'r:5000'}, gc: " + gc + "}\n"))
	return c, err
}

func TestUploadPurgingIsOnUnlessSaidOtherwise(t *testing.T) {
	for _, test := range []struct {
		maintenance, variable string
		want                  UploadPurging
	}{
		{"{}", "", UploadPurging{Enabled: true, Age: 168 * time.Hour, Interval: 24 * time.Hour}},
		{"{uploadpurging: {enabled: false}}", "", UploadPurging{Age: 168 * time.Hour, Interval: 24 * time.Hour}},
		{"{uploadpurging: {age: 1h, interval: 90s, dryrun: true}}", "", UploadPurging{Enabled: true, Age: time.Hour, Interval: 90 * time.Second, DryRun: true}},
		{"{uploadpurging: {age: 1h}}", "{enabled: true, age: 2h}", UploadPurging{Enabled: true, Age: 2 * time.Hour, Interval: 24 * time.Hour}},
	} {
		t.Run(test.maintenance+test.variable, func(t *testing.T) {
			if test.variable != "" {
				t.Setenv("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING", test.variable)
			}
			c, err := parseMaintenance(t, test.maintenance, "{}")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := c.UploadPurging(); err != nil || got != test.want {
				t.Errorf("%+v (%v), want %+v", got, err, test.want)
			}
		})
	}
}

func TestBadMaintenanceIsRefusedWithItsKey(t *testing.T) {
	for _, test := range []struct{ maintenance, gc, key string }{
		{"{uploadpurging: true}", "{}", "storage.maintenance.uploadpurging"},
		{"{uploadpurging: {age: soon}}", "{}", "uploadpurging.age"},
		{"{uploadpurging: {enabled: perhaps}}", "{}", "uploadpurging.enabled"},
		{"{uploadpurging: {interval: 0s}}", "{}", "storage.maintenance.uploadpurging"},
		{"{uploadpurging: {age: -1h}}", "{}", "storage.maintenance.uploadpurging"},
		{"{}", "{minage: 0s}", "alauda.gc"},
		{"{}", "{workers: 0}", "alauda.gc"},
		{"{}", "{verifydelay: -1s}", "alauda.gc"},
	} {
		if _, err := parseMaintenance(t, test.maintenance, test.gc); err == nil || !strings.Contains(err.Error(), test.key) {
			t.Errorf("%s %s: %v, want an error that names %s", test.maintenance, test.gc, err, test.key)
		}
	}
}
