package etchosts

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"image.alauda.io/registry/pkg/nodeca/inputs"
)

const service = "image-registry.image-registry-system"

func entry(ip string, names ...string) inputs.HostEntry {
	if len(names) == 0 {
		names = []string{service + ".svc", service + ".svc.cluster.local", service}
	}
	return inputs.HostEntry{IP: netip.MustParseAddr(ip), Names: names}
}

func block(ip string) string {
	wanted := render([]inputs.HostEntry{entry(ip)}, false)
	return string(pad(wanted, paddedSize(wanted)))
}

func TestTheBlockHasTheDocumentedForm(t *testing.T) {
	want := "# BEGIN image-registry-node-ca (managed, do not edit)\n" +
		"10.96.3.7\t" + service + ".svc " + service + ".svc.cluster.local " + service + "\n" +
		"# END image-registry-node-ca"
	got := block("10.96.3.7")
	if !strings.HasPrefix(got, want+" ") || strings.TrimRight(got, " \n") != want || len(got)%blockUnit != 0 || !strings.HasSuffix(got, "\n") {
		t.Errorf("got %q", got)
	}
}

// Behaviours 19, 20, 25.
func TestPlanBringsTheFileIntoTheWantedState(t *testing.T) {
	long := entry("2001:db8::ffff:1234", service+".svc."+strings.Repeat("a", 60)+"."+strings.Repeat("b", 60)+".example", service+".svc")
	wide := render([]inputs.HostEntry{long}, false)
	newlineBlock := func() string {
		wanted := render([]inputs.HostEntry{entry("10.0.0.1")}, true)
		return string(pad(wanted, paddedSize(wanted)))
	}()
	for name, test := range map[string]struct {
		file    string
		entries []inputs.HostEntry
		want    string
	}{
		"empty file":          {"", []inputs.HostEntry{entry("10.0.0.1")}, block("10.0.0.1")},
		"comments only":       {"# c\n", []inputs.HostEntry{entry("10.0.0.1")}, "# c\n" + block("10.0.0.1")},
		"no final newline":    {"127.0.0.1 localhost", []inputs.HostEntry{entry("10.0.0.1")}, "127.0.0.1 localhost\n" + newlineBlock},
		"CRLF":                {"127.0.0.1 localhost\r\n", []inputs.HostEntry{entry("10.0.0.1")}, "127.0.0.1 localhost\r\n" + block("10.0.0.1")},
		"already there":       {"a\n" + block("10.0.0.1") + "b\n", []inputs.HostEntry{entry("10.0.0.1")}, "a\n" + block("10.0.0.1") + "b\n"},
		"other address":       {"a\n" + block("10.0.0.1") + "b\n", []inputs.HostEntry{entry("10.100.200.201")}, "a\n" + block("10.100.200.201") + "b\n"},
		"larger at the end":   {"a\n" + block("10.0.0.1"), []inputs.HostEntry{long}, "a\n" + string(pad(wide, paddedSize(wide)))},
		"larger in between":   {"a\n" + block("10.0.0.1") + "b\n", []inputs.HostEntry{long}, "a\n" + string(blank([]byte(block("10.0.0.1")))) + "b\n" + string(pad(wide, paddedSize(wide)))},
		"duplicate blocks":    {block("10.0.0.1") + "b\n" + block("10.0.0.2") + "c\n", []inputs.HostEntry{entry("10.0.0.1")}, block("10.0.0.1") + "b\n" + string(blank([]byte(block("10.0.0.2")))) + "c\n"},
		"begin without end":   {beginLine + "10.0.0.9 " + service + "\n\n127.0.0.1 localhost\n", []inputs.HostEntry{entry("10.0.0.1")}, string(blank([]byte(beginLine+"10.0.0.9 "+service+"\n"))) + "\n127.0.0.1 localhost\n" + block("10.0.0.1")},
		"foreign line inside": {beginLine + "127.0.0.1 localhost\n" + endPrefix + "\n", nil, string(blank([]byte(beginLine))) + "127.0.0.1 localhost\n"},
		"remove at the end":   {"a\n" + block("10.0.0.1"), nil, "a\n"},
		"remove in between":   {"a\n" + block("10.0.0.1") + "b\n", nil, "a\n" + string(blank([]byte(block("10.0.0.1")))) + "b\n"},
		"remove all":          {block("10.0.0.1") + block("10.0.0.2"), nil, ""},
		"remove and newline":  {"127.0.0.1 localhost\n" + newlineBlock, nil, "127.0.0.1 localhost"},
		"nothing to remove":   {"a\n", nil, "a\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := planFor([]byte(test.file), test.entries)
			got := p.apply([]byte(test.file))
			if string(got) != test.want {
				t.Errorf("got\n%q\nwant\n%q", got, test.want)
			}
			if again := planFor(got, test.entries); !again.empty() {
				t.Errorf("a second plan is not empty: %+v", again)
			}
		})
	}
}

// Behaviour 21.
func TestForeignBytesNeverChangeNorMove(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 3000 {
		data := randomFile(random)
		for range 4 {
			entries := randomEntries(random)
			p := planFor(data, entries)
			after := p.apply(data)
			if err := foreignIntact(data, after); err != nil {
				t.Fatalf("round %d: %v\nbefore %q\nafter  %q", round, err, data, after)
			}
			if again := planFor(after, entries); !again.empty() {
				t.Fatalf("round %d: not settled: %+v\nbefore %q\nafter %q", round, again, data, after)
			}
			if len(entries) > 0 && len(Entries(after)) != len(entries) {
				t.Fatalf("round %d: %d addresses, want %d\n%q", round, len(Entries(after)), len(entries), after)
			}
			data = after
		}
	}
}

// foreignIntact checks every byte outside the blocks of the file before.
func foreignIntact(before, after []byte) error {
	ours := make([]bool, len(before))
	for _, b := range findBlocks(before) {
		for i := b.start; i < b.end; i++ {
			ours[i] = true
		}
		if b.newlineAdded {
			ours[b.start-1] = true
		}
	}
	for i, c := range before {
		if !ours[i] && (i >= len(after) || after[i] != c) {
			return fmt.Errorf("byte %d (%q) was changed or cut", i, c)
		}
	}
	return nil
}

func randomFile(random *rand.Rand) []byte {
	pieces := []string{
		"127.0.0.1 localhost\n", "\n", "   \n", "# comment\n", "10.1.1.1 " + service + ".svc other\n", "::1 ip6\r\n",
		block("10.0.0.1"), block("10.0.0.2"), beginLine, endPrefix + "\n", "10.3.3.3\t" + service + "\n", "text", " ",
		"# BEGIN image-registry-node-x\n", beginAfterNewline, "\x00\xff\n",
	}
	var out bytes.Buffer
	for range random.IntN(8) {
		out.WriteString(pieces[random.IntN(len(pieces))])
	}
	return out.Bytes()
}

func randomEntries(random *rand.Rand) []inputs.HostEntry {
	choices := [][]inputs.HostEntry{
		nil, {entry("10.0.0.1")}, {entry("10.0.0.77")}, {entry("fd00::1")}, {entry("10.0.0.1"), entry("fd00::1")},
		{entry("10.0.0.1", service+".svc."+strings.Repeat("a", 63)+"."+strings.Repeat("b", 63)+"."+strings.Repeat("c", 40))},
	}
	return choices[random.IntN(len(choices))]
}

// Behaviour 24.
func TestForeignMappingIsFoundOnlyBeforeTheBlock(t *testing.T) {
	wanted := []inputs.HostEntry{entry("10.0.0.1")}
	foreign := "10.9.9.9 " + strings.ToUpper(service) + ".svc # old\n"
	for name, test := range map[string]struct {
		file string
		want bool
	}{
		"before":       {foreign + block("10.0.0.1"), true},
		"behind":       {block("10.0.0.1") + foreign, false},
		"no block":     {foreign, true},
		"same address": {"10.0.0.1 " + service + "\n" + block("10.0.0.1"), false},
		"comment":      {"#" + foreign, false},
		"other name":   {"10.9.9.9 example.com\n", false},
	} {
		if _, got := ForeignMapping([]byte(test.file), wanted); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

// Behaviour 4.
func FuzzPlan(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		f.Add(randomFile(random), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, present bool) {
		var entries []inputs.HostEntry
		if present {
			entries = []inputs.HostEntry{entry("10.0.0.1")}
		}
		after := planFor(data, entries).apply(data)
		if err := foreignIntact(data, after); err != nil {
			t.Fatal(err)
		}
		if again := planFor(after, entries); !again.empty() {
			t.Fatalf("not settled: %+v", again)
		}
	})
}
