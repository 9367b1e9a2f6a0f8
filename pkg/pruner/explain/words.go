package explain

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/pruner/plan"
	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

const (
	wait      = "It ends by itself; a smaller --keep-younger-than ends it earlier."
	stopUsing = "Let these objects use another image, or delete them."
)

// words puts verdicts about one image into sentences.
type words struct {
	planner *plan.Planner
	digest  string
	decided map[string]plan.Image
	// listed are the digests that streams name after the run, whether or not there is an Image.
	listed map[string]string
}

func reasonOf(v plan.Verdict, message, change string) Reason {
	reason := Reason{Rule: v.Rule, Keeps: v.Keep, Message: message, Change: change}
	if !v.Until.IsZero() {
		until := metav1.NewTime(v.Until.UTC())
		reason.Until = &until
	}
	return reason
}

// aboutRevision explains a verdict about a revision of a stream.
func (w words) aboutRevision(stream snapshot.Stream, at plan.Explained, v plan.Verdict) Reason {
	key := references.Stream{Namespace: stream.Namespace, Name: stream.Name}
	uses := w.planner.Snapshot.Uses
	switch v.Rule {
	case plan.RuleOutside:
		return reasonOf(v, fmt.Sprintf("The run is limited to the namespace %s.", w.planner.Namespace), "Run without --namespace.")
	case plan.RuleStreamKeep:
		return reasonOf(v, fmt.Sprintf("The stream carries the annotation %s=true.", imagev1.KeepAnnotation),
			fmt.Sprintf("kubectl annotate imagestreams -n %s %s %s-", stream.Namespace, stream.Name, imagev1.KeepAnnotation))
	case plan.RuleWhitelist:
		return reasonOf(v, fmt.Sprintf("The stream matches the whitelist entry %q.", v.Expression), "Run without that entry.")
	case plan.RuleMentioned:
		reason := reasonOf(v, "A text that is no complete image reference mentions the stream, so all of it stays.", "Write the reference out in these objects.")
		reason.Users = users(uses.ProtectorOrigins(key), v.User)
		return reason
	case plan.RuleYoungStream:
		return reasonOf(v, fmt.Sprintf("The stream is younger than %s until %s.", w.planner.KeepYoungerThan, at3339(v.Until)), wait)
	case plan.RuleTagKeep:
		return reasonOf(v, fmt.Sprintf("The tag carries the annotation %s=true in spec.tags.", imagev1.KeepAnnotation), "Remove the annotation from spec.tags of the stream.")
	case plan.RuleTagUsed:
		reason := reasonOf(v, "It is what the tag means, and the tag is in use.", stopUsing)
		reason.Users = users(uses.TagOrigins(key, at.Tag), v.User)
		return reason
	case plan.RuleDeclared:
		return reasonOf(v, "It is what the tag means, and the tag is declared in spec.tags of the stream.", "Remove the tag from spec.tags.")
	case plan.RuleNewest:
		return reasonOf(v, fmt.Sprintf("It is revision %d of the tag, and the newest %d stay.", at.Index, w.planner.KeepTagRevisions),
			fmt.Sprintf("Newer pushes to the tag, or --keep-tag-revisions=%d.", at.Index))
	case plan.RuleFits:
		return reasonOf(v, w.fits(stream.Namespace), "The over-size mode removes only what exceeds a limit of its namespace.")
	case plan.RuleExceeds:
		return reasonOf(v, w.tooLarge(stream.Namespace), w.howToKeep())
	case plan.RuleDigestUsed:
		reason := reasonOf(v, "It is in use by its digest.", stopUsing)
		if v.Digest != w.digest {
			reason.Message = fmt.Sprintf("It contains %s, which is in use by its digest.", v.Digest)
		}
		if v.Digest == w.config() {
			reason.Message = fmt.Sprintf("It is in use by the digest of its configuration, %s.", v.Digest)
		}
		reason.Users = users(uses.DigestOrigins(key, v.Digest), v.User)
		return reason
	case plan.RuleOld:
		return reasonOf(v, fmt.Sprintf("It is older than %s, not among the newest %d revisions of its tag, and nothing uses it.",
			w.planner.KeepYoungerThan, w.planner.KeepTagRevisions), w.howToKeep())
	}
	return w.common(v)
}

// aboutImage explains a verdict about an Image that no stream lists.
func (w words) aboutImage(v plan.Verdict) Reason {
	switch v.Rule {
	case plan.RuleDigestUsed:
		reason := reasonOf(v, "It is in use by its digest, whether or not a stream names it.", stopUsing)
		if v.Digest == w.config() {
			reason.Message = fmt.Sprintf("It is in use by the digest of its configuration, %s, whether or not a stream names it.", v.Digest)
		}
		reason.Users = users(w.planner.Snapshot.Uses.AnyDigestOrigins(v.Digest), v.User)
		return reason
	case plan.RuleUnlisted:
		return reasonOf(v, "After the run no stream names it, nothing uses it, and it belongs to no image that stays.", w.howToKeep())
	}
	return w.common(v)
}

// common are the sentences that do not depend on the place.
func (w words) common(v plan.Verdict) Reason {
	switch v.Rule {
	case plan.RuleYoung:
		return reasonOf(v, fmt.Sprintf("It is younger than %s until %s.", w.planner.KeepYoungerThan, at3339(v.Until)), wait)
	case plan.RuleTakenUp:
		return reasonOf(v, fmt.Sprintf("It was created or taken up shortly before; that protects it until %s whatever else holds.", at3339(v.Until)), "It ends by itself.")
	case plan.RuleSubjectKept:
		return reasonOf(v, fmt.Sprintf("The tag belongs to %s, which the stream still names.", v.Digest), "It goes with that image.")
	case plan.RuleSubjectUsed:
		reason := reasonOf(v, fmt.Sprintf("The tag belongs to %s, which is in use by its digest.", v.Digest), stopUsing)
		reason.Users = users(w.planner.Snapshot.Uses.AnyDigestOrigins(v.Digest), v.User)
		return reason
	case plan.RuleSubjectGone:
		return reasonOf(v, fmt.Sprintf("The tag belongs to %s, which the stream does not name after the run.", v.Digest), "Keep that image, or give this one a tag of its own.")
	case plan.RuleImageKeep:
		return reasonOf(v, fmt.Sprintf("The Image carries the annotation %s=true.", imagev1.KeepAnnotation),
			fmt.Sprintf("kubectl annotate images %s %s-", w.digest, imagev1.KeepAnnotation))
	case plan.RuleUnmanaged:
		return reasonOf(v, "It was not pushed to this registry, and --all=false leaves such images alone.", "Run with --all=true.")
	case plan.RuleIncomplete:
		return reasonOf(v, "What the image consists of is not known, so nobody can tell what depends on it.", "Push or import it again.")
	case plan.RuleNewer:
		return reasonOf(v, "The Image was created while the cluster was read.", "Ask again.")
	case plan.RuleUnsure:
		return reasonOf(v, "Whether the Image exists could not be found out.", "Ask again when the image API answers.")
	case plan.RuleAbsent:
		return reasonOf(v, "There is no such Image, so nobody can pull the revision.", "Push or import it again.")
	}
	return reasonOf(v, v.Reason()+".", "")
}

// config is the digest of the image's configuration, empty if there is none.
func (w words) config() string { return w.planner.Snapshot.Images[w.digest].Config }

func (w words) howToKeep() string {
	return fmt.Sprintf("To keep it: kubectl annotate images %s %s=true", w.digest, imagev1.KeepAnnotation)
}

func (w words) fits(namespace string) string {
	limit, limited := w.planner.Snapshot.Limits[namespace]
	if !limited {
		return fmt.Sprintf("The namespace %s does not limit the size of images.", namespace)
	}
	return fmt.Sprintf("Its size, %s, is within the limit of %s of the namespace %s.", binary(w.planner.SizeOf(w.digest)), binary(limit), namespace)
}

func (w words) tooLarge(namespace string) string {
	return fmt.Sprintf("Its size, %s, exceeds the limit of %s of the namespace %s, and nothing uses it.",
		binary(w.planner.SizeOf(w.digest)), binary(w.planner.Snapshot.Limits[namespace]), namespace)
}

func binary(bytes int64) string { return resource.NewQuantity(bytes, resource.BinarySI).String() }

func at3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
