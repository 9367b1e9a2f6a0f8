package conditions

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
)

// Whatever others write into an error, each finding is one line, what to do is still said, and the status can be stored.
func TestMessagesAreBounded(t *testing.T) {
	long := "apply Deployment: [" + strings.Repeat("spec.tolerations[0]: \n ü, ", 10_000) + "]; correct spec.tolerations"
	in := healthy()
	for i := range 40 {
		in.Routes = append(in.Routes, fmt.Sprintf("%d: %s", i, long))
		in.Faults.Permanent = append(in.Faults.Permanent, &fault.Permanent{Reason: "VerificationFailed", Message: fmt.Sprintf("%d: %s", i, long)})
		in.Faults.Transient = append(in.Faults.Transient, errors.New(long))
	}
	in.Registry = nil
	in.Certificates = Controller{Problem: &fault.Permanent{Reason: "X", Message: long}}
	in.NodeTrust = Controller{FailingSince: now, Message: long}
	in.PullSecrets = PullSecrets{Degraded: true, Message: long}
	in.Storage.Reason, in.Storage.Message = "UnknownError", long
	for _, condition := range Compute(in) {
		if len(condition.Message) > maxMessage+8 || !utf8.ValidString(condition.Message) {
			t.Errorf("the message of %s has %d bytes, valid: %t", condition.Type, len(condition.Message), utf8.ValidString(condition.Message))
		}
		if condition.Type == registryv1.ConditionDegraded && !strings.Contains(condition.Message, "correct spec.tolerations\noperator: 1:") {
			t.Errorf("what to do is lost, or the findings are not one line each: %.2000q", condition.Message)
		}
	}
	if len(in.Faults.Permanent[0].Message) < len(long) {
		t.Error("the faults of the caller were changed")
	}
}

func TestShortTextsStayAsTheyAre(t *testing.T) {
	for _, text := range []string{"", "one", strings.Repeat("ä", maxFinding/2)} {
		if got := OneLine(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := OneLine("a\n\tb  c"); got != "a b c" {
		t.Errorf("%q", got)
	}
}
