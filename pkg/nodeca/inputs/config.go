package inputs

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"image.alauda.io/registry/pkg/nodeca/reasons"
)

const (
	configKey       = "config.json"
	configVersion   = 1
	maxHostEntries  = 16
	maxEntryNames   = 8
	maxShownInvalid = 60
)

// ServiceName is the shortest of the names that the agent may map; the others begin with it.
const ServiceName = "image-registry.image-registry-system"

// Config is a checked config.json.
type Config struct {
	// Hash names the certificates this configuration was made with.
	Hash string
	// Hosts are the mappings for /etc/hosts that suit the node, in the given order.
	Hosts []HostEntry
	// HostsRejected is true when mappings were given and none was valid: this is not the same as a
	// configuration that asks for no mapping.
	HostsRejected bool
	// Registries are the registry's own hosts.
	Registries []string
	// Runtimes are the distinct container runtime versions of all nodes.
	Runtimes []string

	fingerprint string
}

// HostEntry maps an address to names.
type HostEntry struct {
	IP    netip.Addr
	Names []string
}

// Families are the address families of the node.
type Families struct{ IPv4, IPv6 bool }

// FamiliesOf reads the comma-separated addresses of the node; unknown families count as both.
func FamiliesOf(nodeIPs string) Families {
	var families Families
	for text := range strings.SplitSeq(nodeIPs, ",") {
		if address, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil {
			families.IPv4 = families.IPv4 || address.Unmap().Is4()
			families.IPv6 = families.IPv6 || !address.Unmap().Is4()
		}
	}
	if !families.IPv4 && !families.IPv6 {
		return Families{IPv4: true, IPv6: true}
	}
	return families
}

func (f Families) has(address netip.Addr) bool {
	if address.Is4() {
		return f.IPv4
	}
	return f.IPv6
}

// ParseConfig checks config.json. Unknown fields are ignored; a bad host entry is left out and
// reported; everything else that is wrong is an error.
func ParseConfig(data []byte, families Families) (*Config, []reasons.Reason, error) {
	var raw struct {
		Version int    `json:"version"`
		Hash    string `json:"hash"`
		Hosts   []struct {
			IP    string   `json:"ip"`
			Names []string `json:"names"`
		} `json:"hosts"`
		Registries []string `json:"registries"`
		Runtimes   []string `json:"runtimes"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, nil, fmt.Errorf("%s is not valid JSON: %w", configKey, err)
	}
	if raw.Version != configVersion {
		return nil, nil, fmt.Errorf("%s has version %d, this agent knows version %d", configKey, raw.Version, configVersion)
	}
	config := &Config{
		Hash: raw.Hash, Registries: raw.Registries, Runtimes: raw.Runtimes,
		fingerprint: fmt.Sprintf("%x", sha256.Sum256(data)),
	}
	var found []reasons.Reason
	for i, entry := range raw.Hosts {
		if i == maxHostEntries {
			found = append(found, reasons.New(reasons.InvalidHostEntry, "", "", "more than %d host entries, the rest is ignored", maxHostEntries))
			break
		}
		checked, err := checkEntry(entry.IP, entry.Names)
		if err != nil {
			found = append(found, reasons.New(reasons.InvalidHostEntry, "", "", "host entry %d: %v", i+1, err))
			continue
		}
		config.Hosts = append(config.Hosts, checked)
	}
	config.HostsRejected = len(raw.Hosts) > 0 && len(config.Hosts) == 0
	config.Hosts = reachable(config.Hosts, families)
	return config, found, nil
}

func checkEntry(ip string, names []string) (HostEntry, error) {
	address, err := netip.ParseAddr(ip)
	if err != nil || address.Zone() != "" {
		return HostEntry{}, fmt.Errorf("address %s is not an IP address", shown(ip))
	}
	address = address.Unmap()
	if address.IsLoopback() || address.IsUnspecified() || address.IsMulticast() || address.IsLinkLocalUnicast() ||
		address == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return HostEntry{}, fmt.Errorf("address %s cannot be the address of a Service", address)
	}
	if len(names) == 0 || len(names) > maxEntryNames {
		return HostEntry{}, fmt.Errorf("%d names, want 1 to %d", len(names), maxEntryNames)
	}
	for _, name := range names {
		if !OwnName(name) {
			return HostEntry{}, fmt.Errorf("name %s is not a name of the registry's Service", shown(name))
		}
	}
	return HostEntry{IP: address, Names: slices.Clone(names)}, nil
}

// OwnName reports whether the agent may map a name: the registry's Service, alone or followed by .svc
// or .svc.<domain>.
func OwnName(name string) bool {
	rest, ok := strings.CutPrefix(name, ServiceName)
	if !ok || len(name) > 253 {
		return false
	}
	if rest == "" || rest == ".svc" {
		return true
	}
	domain, ok := strings.CutPrefix(rest, ".svc.")
	if !ok {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// reachable leaves out the addresses of families that the node does not have, unless nothing would
// remain.
func reachable(entries []HostEntry, families Families) []HostEntry {
	var kept []HostEntry
	for _, entry := range entries {
		if families.has(entry.IP) {
			kept = append(kept, entry)
		}
	}
	if len(kept) == 0 {
		return entries
	}
	return kept
}

func shown(text string) string {
	if len(text) > maxShownInvalid {
		text = text[:maxShownInvalid] + "…"
	}
	return fmt.Sprintf("%q", text)
}
