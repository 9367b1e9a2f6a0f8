package v1

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestDefaultsFillWhatIsUnset(t *testing.T) {
	var c ImageAPIServerConfig
	SetDefaults(&c)
	switch {
	case c.Kind != Kind || c.APIVersion != APIVersion:
		t.Errorf("kind is %s %s", c.APIVersion, c.Kind)
	case *c.ImageImport.MaxTagsPerRepository != 50 || c.ImageImport.Workers != 50:
		t.Errorf("import defaults are %+v", c.ImageImport)
	case c.ImageImport.DefaultImportMode != "PreserveOriginal":
		t.Errorf("import mode is %s", c.ImageImport.DefaultImportMode)
	case !slices.Contains(c.ImageImport.DeniedCIDRs, "169.254.0.0/16"):
		t.Errorf("denied networks are %v", c.ImageImport.DeniedCIDRs)
	case c.ImageImport.RateLimits.Hosts["docker.io"] != (RateLimit{QPS: 2, Burst: 5}):
		t.Errorf("rate limits are %+v", c.ImageImport.RateLimits)
	case c.ImageImport.Scheduled.MinimumInterval.Duration != DefaultMinimumInterval:
		t.Errorf("interval is %v", c.ImageImport.Scheduled.MinimumInterval)
	case c.ImageLookup.Enabled == nil || !*c.ImageLookup.Enabled:
		t.Error("image lookup is off")
	case c.InternalRegistryHostname != "":
		t.Errorf("host name is %q, want none", c.InternalRegistryHostname)
	}
}

func TestDefaultsKeepWhatIsSet(t *testing.T) {
	text := `{"imageImport":{"deniedCIDRs":[],"maxTagsPerRepository":-1,"workers":7,
		"rateLimits":{"default":{"qps":1,"burst":1},"hosts":{}},
		"mirrors":[{"source":"docker.io","mirrors":["m"],"applyTo":"Tags"}],
		"scheduled":{"minimumInterval":"1h"}},"imageLookup":{"enabled":false}}`
	var c ImageAPIServerConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	SetDefaults(&c)
	imports := c.ImageImport
	if len(imports.DeniedCIDRs) != 0 || *imports.MaxTagsPerRepository != -1 || imports.Workers != 7 ||
		imports.RateLimits.Default.Burst != 1 || len(imports.RateLimits.Hosts) != 0 || *c.ImageLookup.Enabled {
		t.Errorf("explicit settings were replaced: %+v", c)
	}
	if m := imports.Mirrors[0]; m.ApplyTo != MirrorTags || m.MirrorSourcePolicy != AllowContactingSource {
		t.Errorf("mirror is %+v, want its own applyTo and the default policy", m)
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var again ImageAPIServerConfig
	if err := json.Unmarshal(encoded, &again); err != nil {
		t.Fatal(err)
	}
	SetDefaults(&again)
	if len(again.ImageImport.DeniedCIDRs) != 0 || again.ImageImport.DeniedCIDRs == nil {
		t.Errorf("an explicit empty list did not survive writing: %v", again.ImageImport.DeniedCIDRs)
	}
}
