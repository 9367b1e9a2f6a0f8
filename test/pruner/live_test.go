//go:build component

package pruner

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/pkg/pruner/app"
)

var (
	liveRounds = flag.Int("prune.rounds", 0, "rounds of the random test of the pruner, without -prune.for; one without both")
	liveFor    = flag.Duration("prune.for", 0, "begin rounds of the random test of the pruner for so long")
	liveSeed   = flag.Uint64("prune.seed", 0, "seed of the random test of the pruner; 0 takes one from the clock for more than one round")
)

const (
	// activity is how long the clients of a round begin new things.
	activity = 3 * time.Second
	// coalesced: who takes an Image up that was stamped less than a minute ago does not stamp it again, so
	// what is younger must not look old while clients work.
	coalesced = 65 * time.Second
	// settles: of so many rounds one lets the pruner finish in the quiet.
	settles = 6
	// latestKill bounds when a run is killed; never is longer than any run takes.
	latestKill, never = time.Second, time.Hour
	// prunerProcess makes the test binary the pruner, with the arguments that it holds as JSON.
	prunerProcess = "PRUNER_TEST_ARGUMENTS"
)

// TestPrunerProcess is no test: it is the pruner in a process that can be killed.
func TestPrunerProcess(t *testing.T) {
	text := os.Getenv(prunerProcess)
	if text == "" {
		t.Skip("only a process of another test")
	}
	var args []string
	if err := json.Unmarshal([]byte(text), &args); err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	os.Exit(app.Run(ctx, args, os.Stdout, os.Stderr))
}

// Behaviour 64: one round, and more of the same on request. Clients push, push again, copy, move and delete
// tags and roll workloads out while pruners run, some of them two at once, some killed at a random point. They
// come back to images that are about to go: by tag, from Pods and custom objects, in an index, by a mounted layer,
// by a layer whose upload takes its time.
// After each round every image that a stream lists, and every image that a workload named when a run began,
// can be pulled with all its bytes, and no Image misses a blob. A run in the quiet then finishes what the
// others left, a second one finds nothing, and a collection leaves nothing in the storage that it would take
// again.
func TestRandomLife(t *testing.T) {
	if *liveRounds == 0 && *liveFor == 0 {
		*liveRounds, *liveSeed = 1, max(*liveSeed, 1)
	}
	l := newLife(t)
	l.begin(t)
	random := rand.New(rand.NewPCG(l.seed, 1))
	began := time.Now()
	t.Logf("seed %d", l.seed)
	defer func() { t.Logf("%d rounds in %s: %s", l.rounds, time.Since(began).Round(time.Second), &l.tally) }()
	for l.rounds = 0; *liveFor == 0 && l.rounds < *liveRounds || time.Since(began) < *liveFor; l.rounds++ {
		l.round(t, random)
		if t.Failed() {
			t.Fatalf("in round %d; repeat with -prune.seed=%d and, because time has a part in it, more -prune.rounds", l.rounds, l.seed)
		}
	}
	if n := &l.tally; n.pushed.Load() == 0 || n.runs.Load() == 0 || n.kills.Load() == 0 || n.pulled.Load() == 0 || n.deleted.Load() == 0 || n.blobs.Load() == 0 {
		t.Errorf("after %d rounds something was not tried", l.rounds)
	}
	if n := &l.tally; *liveFor >= 2*time.Minute && min(n.old.Load(), n.retagged.Load(), n.using.Load(), n.indexed.Load(), n.mounted.Load(), n.slow.Load()) == 0 {
		t.Errorf("after %d rounds images were not taken up in all ways", l.rounds)
	}
}

// round lets everybody work at the same time, and looks at everything when they have ended.
func (l *life) round(t *testing.T, random *rand.Rand) {
	l.calendar.pass(coalesced)
	working, stop := context.WithTimeout(t.Context(), activity)
	defer stop()
	var group sync.WaitGroup
	for range clients {
		own := rand.New(rand.NewPCG(random.Uint64(), 0))
		group.Go(func() {
			for working.Err() == nil && !t.Failed() {
				l.step(t, own)
			}
		})
	}
	for range 1 + random.IntN(2) {
		own := rand.New(rand.NewPCG(random.Uint64(), 0))
		group.Go(func() {
			kill := latestKill
			for killed := false; (working.Err() == nil || !killed) && !t.Failed(); {
				// However fast the machine is, some run ends in the middle.
				after := time.Duration(own.Int64N(int64(kill)))
				if working.Err() != nil {
					kill = kill/2 + 1
				} else if own.IntN(3) == 0 {
					after = never
				}
				killed = l.prune(t, own, after) || killed
			}
		})
	}
	group.Wait()
	l.checkAll(t)
	// What is left over grows old meanwhile, and the clients of a later round take it up while runs delete it.
	used := l.used(t)
	if l.rounds > 0 && random.IntN(settles) > 0 {
		l.later(t, "")
		return
	}
	l.settle(t, random)
	l.checkAll(t)
	l.checkUsed(t, used)
}

// prune runs the pruner while others work, and kills it after some time unless it has ended by itself. What
// the workloads name when the run begins must be there when it has ended.
func (l *life) prune(t *testing.T, random *rand.Rand, after time.Duration) (killed bool) {
	used := l.used(t)
	args := append(l.wishes(random), "--confirm", "--prune-registry")
	command, output := l.command(t, args)
	fatal(t, command.Start())
	l.tally.runs.Add(1)
	timer := time.AfterFunc(after, func() { _ = command.Process.Kill() })
	defer timer.Stop()
	err := command.Wait()
	code := command.ProcessState.ExitCode()
	switch {
	case code == -1:
		l.tally.kills.Add(1)
	case code != 0 && !refused(output.String()):
		t.Errorf("pruner %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	l.count(output.String())
	l.checkUsed(t, used)
	return code == -1
}

// refused: so few images are there that a collection would often take more than half of all blobs, which
// the pruner refuses when all else is done.
func refused(output string) bool {
	return strings.Contains(output, "more than --max-delete-percent=50 allows")
}

// wishes are flags under which what is needed must never go, whatever they are.
func (l *life) wishes(random *rand.Rand) []string {
	return []string{
		"images", fmt.Sprint("--keep-tag-revisions=", random.IntN(3)),
		"--keep-younger-than=" + []string{"0s", "1m", "1h"}[random.IntN(3)],
		fmt.Sprint("--num-workers=", 1+random.IntN(8)), fmt.Sprint("--chunk-size=", 5+random.IntN(500)),
	}
}

// command is the pruner as a process.
func (l *life) command(t *testing.T, args []string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	args = append(args, "--kubeconfig="+l.kubeconfig, "--registry-url=http://"+l.host, "--registry-token-file="+l.token)
	text, err := json.Marshal(args)
	fatal(t, err)
	command := exec.Command(os.Args[0], "-test.run=^TestPrunerProcess$")
	command.Env = append(os.Environ(), prunerProcess+"="+string(text))
	output := &bytes.Buffer{}
	command.Stdout, command.Stderr = output, output
	return command, output
}

// settle lets a long time pass in which nobody does anything, and lets pruner and collection finish.
func (l *life) settle(t *testing.T, random *rand.Rand) {
	l.later(t, "")
	l.calendar.pass(0)
	wishes := l.wishes(random)
	run := func(args ...string) string {
		command, output := l.command(t, args)
		if err := command.Run(); err != nil && !refused(output.String()) {
			t.Errorf("pruner %s: %v\n%s", strings.Join(args, " "), err, output)
		}
		l.tally.runs.Add(1)
		return output.String()
	}
	first := run(append(wishes, "--confirm", "--prune-registry")...)
	l.count(first)
	if strings.Contains(first, "skipped\t") {
		t.Errorf("a run in the quiet skipped something:\n%s", first)
	}
	if again := run(append(wishes, "--confirm", "--reference-grace=2m")...); !strings.Contains(again, "Summary: nothing to prune") {
		t.Errorf("a second run %s found something:\n%s\nafter\n%s", strings.Join(wishes, " "), again, first)
	}
	l.later(t, "")
	l.count(run("gc", "--confirm", "--max-delete-percent=100"))
	l.later(t, "")
	if left := run("gc"); strings.Contains(left, "would-delete\t") {
		t.Errorf("a collection left something to the next one:\n%s", left)
	}
	images, err := l.Images.ImageV1().Images().List(t.Context(), metav1.ListOptions{})
	fatal(t, err)
	l.tally.images.Store(int64(len(images.Items)))
}
