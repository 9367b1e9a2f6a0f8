package agent

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime/debug"
	"strconv"
	"testing"
)

// sizeVariable makes the test a process of its own, whose memory nothing else uses.
const sizeVariable = "NODE_CA_TEST_SIZE"

var peak = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// Behaviour 38: the peak of a process that serves a thousand hosts, first pass included.
func TestAThousandHostsFitIntoThePod(t *testing.T) {
	if os.Getenv(sizeVariable) == "" {
		command := exec.Command(os.Args[0], "-test.run=^TestAThousandHostsFitIntoThePod$", "-test.v")
		command.Env = append(os.Environ(), sizeVariable+"=1")
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		found := peak.FindSubmatch(out)
		if found == nil {
			t.Fatalf("the process did not tell its memory:\n%s", out)
		}
		kib, err := strconv.Atoi(string(found[1]))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("peak of the resident memory: %.1f MiB", float64(kib)/1024)
		if kib >= 64<<10 {
			t.Errorf("the process needed %d KiB, the Pod has 64 MiB", kib)
		}
		return
	}
	debug.SetGCPercent(20) // as the program does
	n := newNode(t, listening)
	for i := range 1000 {
		n.certs[fmt.Sprintf("r%d.example.com..5000", i)] = n.certs[ownKey]
	}
	n.publish("")
	for range 5 {
		if status := n.pass(); len(status.Hosts) < 1000 {
			t.Fatalf("%d hosts are served", len(status.Hosts))
		}
	}
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s\n", peak.Find(text))
}

// The first pass writes all of them; the next ones are BenchmarkPassWith1000Hosts.
func BenchmarkFirstPassWith1000Hosts(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		n := newNode(b, listening)
		for i := range 1000 {
			n.certs[fmt.Sprintf("r%d.example.com..5000", i)] = n.certs[ownKey]
		}
		n.publish("")
		b.StartTimer()
		n.pass()
	}
}
