package scheduled

import (
	"context"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	testingclock "k8s.io/utils/clock/testing"

	"golang.org/x/time/rate"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/controllers/importer"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimport/apply"
	engine "image.alauda.io/registry/pkg/imageapiserver/importer"
	"image.alauda.io/registry/pkg/imageapiserver/streaminformer"
	"image.alauda.io/registry/pkg/oci/remote/keyring"
)

// leader is a controller whose schedule is driven by hand.
type leader struct {
	*Controller
	clock    *testingclock.FakeClock
	limiter  *rate.Limiter
	settings Settings
}

// runs notes what was imported, and when.
type runs struct {
	clock *testingclock.FakeClock
	at    map[string][]time.Time
	next  Runner
}

func (r *runs) Run(ctx context.Context, req importer.Request) (importer.Outcome, error) {
	r.at[req.Name] = append(r.at[req.Name], r.clock.Now())
	if r.next != nil {
		return r.next.Run(ctx, req)
	}
	return importer.Outcome{}, nil
}

func newLeader(t *testing.T, clock *testingclock.FakeClock, runner Runner) *leader {
	t.Helper()
	l := &leader{clock: clock, settings: Settings{Interval: interval, PerMinute: 60, Workers: 5}}
	c, err := New(Options{
		Streams: streaminformer.New(nil), Runner: runner, Settings: func() Settings { return l.settings },
		Clock: clock, Random: random(),
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Controller = c
	c.begin()
	l.limiter = rate.NewLimiter(perSecond(l.settings), 2*l.settings.PerMinute)
	return l
}

// work does everything that is due now and returns how many streams that was.
func (l *leader) work(ctx context.Context) int {
	for n := 0; ; n++ {
		due, _ := l.next(l.limiter)
		if due == nil {
			return n
		}
		l.run(ctx, *due)
	}
}

func stream(name string, tags ...imageapi.TagReference) *imageapi.ImageStream {
	stream := grouptest.Stream("team-a", name, tags...)
	stream.UID = types.UID("uid of " + name)
	return stream
}

// Behaviour 47: each stream is imported once per interval, with a fake clock over a day.
func TestEachStreamHasOneTurnPerInterval(t *testing.T) {
	clock := testingclock.NewFakeClock(start)
	log := &runs{clock: clock, at: map[string][]time.Time{}}
	l := newLeader(t, clock, log)
	for i := range 20 {
		l.look(stream(fmt.Sprint(i), scheduledTag("latest", "registry.example/app:latest")))
	}
	l.look(stream("not-scheduled", grouptest.Tag("latest", "DockerImage", "", "registry.example/app:latest")))
	for end := start.Add(24 * time.Hour); clock.Now().Before(end); clock.Step(10 * time.Second) {
		l.work(t.Context())
	}
	if len(log.at) != 20 {
		t.Fatalf("%d streams were imported, want 20", len(log.at))
	}
	for name, at := range log.at {
		if len(at) < 86 || len(at) > 107 {
			t.Errorf("stream %s was imported %d times in a day, want about 96", name, len(at))
		}
		for i := range at[1:] {
			if gap := at[i+1].Sub(at[i]); gap < interval*9/10 || gap > interval*11/10+10*time.Second {
				t.Fatalf("stream %s was imported again after %s", name, gap)
			}
		}
	}
}

// Behaviour 47: no more imports begin in a minute than are allowed, after a pause twice as many at once.
func TestImportsPerMinuteAreBounded(t *testing.T) {
	clock := testingclock.NewFakeClock(start)
	l := newLeader(t, clock, &runs{clock: clock, at: map[string][]time.Time{}})
	for i := range 1000 {
		l.look(stream(fmt.Sprint(i), scheduledTag("latest", "registry.example/app:latest")))
	}
	clock.Step(interval)
	if n := l.work(t.Context()); n != 120 {
		t.Errorf("%d imports began at once, want 120", n)
	}
	for range 5 {
		clock.Step(time.Minute)
		if n := l.work(t.Context()); n < 59 || n > 61 {
			t.Errorf("%d imports began in a minute, want 60", n)
		}
	}
	l.settings.PerMinute = 10
	l.work(t.Context())
	clock.Step(time.Minute)
	if n := l.work(t.Context()); n < 9 || n > 21 {
		t.Errorf("%d imports began in a minute after the bound was lowered to 10", n)
	}
	l.settings.Disabled = true
	clock.Step(time.Hour)
	if n := l.work(t.Context()); n != 0 {
		t.Errorf("%d imports began although they are disabled", n)
	}
}

func TestStreamLeavesTheSchedule(t *testing.T) {
	clock := testingclock.NewFakeClock(start)
	log := &runs{clock: clock, at: map[string][]time.Time{}}
	l := newLeader(t, clock, log)
	l.look(stream("unscheduled", scheduledTag("latest", "registry.example/app:latest")))
	l.look(stream("deleted", scheduledTag("latest", "registry.example/app:latest")))
	l.look(stream("unscheduled", grouptest.Tag("latest", "DockerImage", "", "registry.example/app:latest")))
	l.handler().OnDelete(cache.DeletedFinalStateUnknown{Key: "team-a/deleted", Obj: stream("deleted")})
	clock.Step(time.Hour)
	if n := l.work(t.Context()); n != 0 {
		t.Errorf("imported: %v", log.at)
	}
}

func TestImportForAnotherReasonBeginsANewInterval(t *testing.T) {
	clock := testingclock.NewFakeClock(start)
	log := &runs{clock: clock, at: map[string][]time.Time{}}
	l := newLeader(t, clock, log)
	both := stream("app", scheduledTag("a", "registry.example/app:a"), scheduledTag("b", "registry.example/app:b"))
	l.look(both)
	turn := func() time.Time { return l.schedule.entries[cache.MetaObjectToName(both)].next }
	before := turn()
	clock.Step(time.Minute)
	l.Postpone(both, []string{"a"})
	if !turn().Equal(before) {
		t.Error("the import of one of two scheduled tags moved the turn of both")
	}
	l.Postpone(both, []string{"a", "b", "c"})
	if gap := turn().Sub(clock.Now()); gap < interval*9/10 {
		t.Errorf("the next turn comes %s after an import of all scheduled tags", gap)
	}
}

func TestSlowImportIsNotStartedTwice(t *testing.T) {
	clock := testingclock.NewFakeClock(start)
	l := newLeader(t, clock, &runs{clock: clock, at: map[string][]time.Time{}})
	l.look(stream("app", scheduledTag("latest", "registry.example/app:latest")))
	clock.Step(interval)
	due, _ := l.next(l.limiter)
	if due == nil {
		t.Fatal("nothing is due")
	}
	for range 10 {
		clock.Step(interval)
		if again, _ := l.next(l.limiter); again != nil {
			t.Fatal("a stream is imported twice at the same time")
		}
	}
	l.run(t.Context(), *due)
	clock.Step(2 * interval)
	if again, _ := l.next(l.limiter); again == nil {
		t.Error("the stream has no turn after its import has ended")
	}
}

// registry always has one image.
type registry struct {
	image    *imageapi.Image
	heads    int
	manifest int
}

func (r *registry) Import(_ context.Context, req engine.Request) engine.Result {
	var result engine.Result
	for _, item := range req.Items {
		if item.LastDigest != "" {
			r.heads++
		}
		if item.LastDigest == r.image.Name {
			result.Items = append(result.Items, engine.ItemResult{Unchanged: true})
			continue
		}
		r.manifest++
		result.Items = append(result.Items, engine.ItemResult{Image: r.image.DeepCopy()})
	}
	return result
}

type noKeys struct{}

func (noKeys) Keyring(context.Context, string) (*keyring.Keyring, error) { return nil, nil }

func newRunner(t *testing.T, env *grouptest.Env, r *registry) *importer.Runner {
	t.Helper()
	applier, err := apply.New(apply.Options{
		Streams: env.Streams(), Images: env.Group.Images, Layers: env.Group.Layers,
		Hosts: func() repository.Hosts { return env.Hosts }, Clock: env.Clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &importer.Runner{Streams: env.Streams(), Engine: r, Keyrings: noKeys{}, Applier: applier}
}

func imageOf(word string) *imageapi.Image {
	image := grouptest.Pushed("x", "x", word)
	image.Annotations, image.DockerImageReference = nil, "registry.example/app@"+image.Name
	return image
}

// Behaviour 47: a registry that still offers the same digest leads to no write, and a new leader does not
// repeat what the one before has done.
func TestUnchangedImageWritesNothingAndANewLeaderDoesNotRepeat(t *testing.T) {
	env := grouptest.New(t)
	r := &registry{image: imageOf("one")}
	log := &runs{clock: env.Clock, at: map[string][]time.Time{}, next: newRunner(t, env, r)}
	env.CreateStream(grouptest.Stream("team-a", "app", scheduledTag("latest", "registry.example/app:latest")))
	current := func() *imageapi.ImageStream { return env.Stream("team-a", "app") }
	turn := func(l *leader) {
		t.Helper()
		before := len(log.at["app"])
		for steps := 0; len(log.at["app"]) == before; steps++ {
			if steps > 200 {
				t.Fatal("no turn in two intervals")
			}
			env.Clock.Step(10 * time.Second)
			l.look(current())
			l.work(t.Context())
		}
	}
	first := newLeader(t, env.Clock, log)
	first.look(current())
	turn(first)
	if r.manifest != 1 || r.heads != 0 {
		t.Fatalf("first import: %d manifests, %d heads", r.manifest, r.heads)
	}
	version := current().ResourceVersion
	for range 3 {
		turn(first)
	}
	if r.manifest != 1 || r.heads != 3 {
		t.Errorf("repeated imports: %d manifests, %d heads", r.manifest, r.heads)
	}
	if again := current().ResourceVersion; again != version {
		t.Error("the stream was written although nothing changed")
	}

	r.image = imageOf("two")
	turn(first)
	if head := current().Status.Tags["latest"].Items[0]; head.Image != r.image.Name {
		t.Fatalf("the tag shows %s, want the new %s", head.Image, r.image.Name)
	}
	count, done := len(log.at["app"]), env.Clock.Now()
	second := newLeader(t, env.Clock, log)
	second.look(current())
	for env.Clock.Now().Before(done.Add(interval * 9 / 10)) {
		second.work(t.Context())
		env.Clock.Step(10 * time.Second)
	}
	if len(log.at["app"]) != count {
		t.Errorf("the new leader repeated the import after %s", log.at["app"][count].Sub(done))
	}
	turn(second)
}

// Streams of one namespace whose registries do not answer leave slots to those of others, and have their turn
// when one of them has ended.
func TestANamespaceLeavesScheduledTurnsToOthers(t *testing.T) {
	clock := testingclock.NewFakeClock(start)
	log := &runs{clock: clock, at: map[string][]time.Time{}}
	l := newLeader(t, clock, log)
	for i := range 4 {
		l.look(stream(fmt.Sprint(i), scheduledTag("latest", "registry.example/app:latest")))
	}
	other := stream("other", scheduledTag("latest", "registry.example/app:latest"))
	other.Namespace = "team-b"
	l.look(other)
	clock.Step(2 * interval)
	var begun []*importer.Request
	for range 20 {
		if due, _ := l.next(l.limiter); due != nil {
			begun = append(begun, due)
		}
	}
	count := map[string]int{}
	for _, due := range begun {
		count[due.Namespace]++
	}
	if count["team-a"] != 2 || count["team-b"] != 1 {
		t.Fatalf("imports begun: %v, want 2 of team-a with 5 slots and 1 of team-b", count)
	}
	for range 2 {
		for _, due := range begun {
			if due.Namespace == "team-a" {
				l.run(t.Context(), *due)
				break
			}
		}
		due, _ := l.next(l.limiter)
		if due == nil || due.Namespace != "team-a" {
			t.Fatalf("after an import has ended begins %+v, want one of those that waited", due)
		}
	}
}
