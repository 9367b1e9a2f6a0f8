package plan

import (
	"time"

	"image.alauda.io/registry/pkg/pruner/references"
)

// Rule names what keeps or removes a revision or an image. The values are part of the output of `explain`
// and do not change.
type Rule string

// Rules that keep.
const (
	RuleOutside     Rule = "OutsideNamespace"
	RuleStreamKeep  Rule = "StreamAnnotated"
	RuleWhitelist   Rule = "Whitelisted"
	RuleMentioned   Rule = "MentionedInUnclearReference"
	RuleYoungStream Rule = "YoungStream"
	RuleTagKeep     Rule = "TagAnnotated"
	RuleYoung       Rule = "Young"
	RuleTagUsed     Rule = "TagInUse"
	RuleDeclared    Rule = "DeclaredInSpec"
	RuleSubjectKept Rule = "SubjectKept"
	RuleSubjectUsed Rule = "SubjectInUse"
	RuleNewer       Rule = "NewerThanRun"
	RuleUnsure      Rule = "LookupFailed"
	RuleImageKeep   Rule = "ImageAnnotated"
	RuleUnmanaged   Rule = "NotManaged"
	RuleFits        Rule = "WithinLimits"
	RuleNewest      Rule = "NewestRevisions"
	RuleDigestUsed  Rule = "DigestInUse"
	RuleIncomplete  Rule = "Incomplete"
	RuleTakenUp     Rule = "TakenUpRecently"
	// The rest are about images as a whole.
	RuleListed    Rule = "ListedInStream"
	RuleIndexKept Rule = "IndexKept"
	RuleReferrer  Rule = "ReferrerOfKept"
	RuleNoImages  Rule = "RunDeletesNoImages"
)

// Rules that remove.
const (
	RuleOld         Rule = "OldAndUnused"
	RuleAbsent      Rule = "ImageMissing"
	RuleSubjectGone Rule = "SubjectGone"
	RuleExceeds     Rule = "ExceedsLimit"
	RuleUnlisted    Rule = "InNoStream"
)

// Verdict is what one rule says.
type Verdict struct {
	Rule Rule
	Keep bool
	// Unsure: it is kept only because a look-up failed, which counts as a failure.
	Unsure bool
	// User is who uses the tag or the image, for rules about usage.
	User references.Source
	// Digest is what is really meant, if it is not the image itself: the used child of an index, the
	// configuration, or the subject of a signature.
	Digest string
	// Expression is the entry of the whitelist that matches.
	Expression string
	// Until is when a protection by age ends.
	Until time.Time
}

func keeps(rule Rule) Verdict { return Verdict{Rule: rule, Keep: true} }

func keepsFor(rule Rule, user references.Source) Verdict {
	return Verdict{Rule: rule, Keep: true, User: user}
}

func removes(rule Rule) Verdict { return Verdict{Rule: rule} }

// Reason is the verdict in a few words, for the lines of a report.
func (v Verdict) Reason() string {
	switch v.Rule {
	case RuleMentioned:
		return "an unclear reference of " + v.User.String() + " mentions the stream"
	case RuleSubjectUsed:
		return "its subject is used by " + v.User.String()
	case RuleTagUsed, RuleDigestUsed:
		return "used by " + v.User.String()
	}
	return reasons[v.Rule]
}

var reasons = map[Rule]string{
	RuleOutside:     "outside the namespace of the run",
	RuleStreamKeep:  "the stream is annotated to be kept",
	RuleWhitelist:   "the stream is on the whitelist",
	RuleYoungStream: "the stream is young",
	RuleTagKeep:     "the tag is annotated to be kept",
	RuleYoung:       "young",
	RuleDeclared:    "the tag is declared in spec.tags",
	RuleSubjectKept: "its subject is kept",
	RuleNewer:       "the image is newer than this run",
	RuleUnsure:      "the image could not be looked up",
	RuleImageKeep:   "the image is annotated to be kept",
	RuleUnmanaged:   "the image was not pushed to this registry",
	RuleFits:        "within the limits of its namespace",
	RuleNewest:      "among the newest revisions",
	RuleIncomplete:  "incomplete: what it consists of is not known",
	RuleTakenUp:     "taken up shortly before this run",
	RuleOld:         "old and unused",
	RuleAbsent:      "the image does not exist",
	RuleSubjectGone: "its subject is not in the stream any more",
	RuleExceeds:     "larger than the limit of its namespace, and unused",
	RuleUnlisted:    "in no stream and unused",
}

// each is told of verdicts in the order of the rules and returns whether it wants to hear the next one. The
// rules go on after one that keeps, so that a decision takes the first and an explanation takes all of
// them; after one that removes there is none.
type each func(Verdict) bool

// first returns the verdict that decides.
func first(rules func(each) bool) (decided Verdict, found bool) {
	rules(func(v Verdict) bool {
		decided, found = v, true
		return false
	})
	return decided, found
}

// all returns what every rule says.
func all(rules func(each) bool) []Verdict {
	var verdicts []Verdict
	rules(func(v Verdict) bool {
		verdicts = append(verdicts, v)
		return true
	})
	return verdicts
}
