package conditions

import (
	"errors"
	"strings"

	"image.alauda.io/registry/pkg/operator/fault"
)

const (
	// maxFinding bounds one sentence: the API server repeats every value that it refuses, be it a thousand times.
	maxFinding = 1000
	// maxMessage bounds a condition. Without a bound the status could become too large to be stored, and the
	// registry would keep silent about what is wrong.
	maxMessage = 8 << 10
)

// brief is the input with every text as one line of bearable length.
func (in Input) brief() Input {
	var faults fault.Classes
	for _, p := range in.Faults.Permanent {
		faults.Permanent = append(faults.Permanent, briefProblem(p))
	}
	for _, err := range in.Faults.Transient {
		faults.Transient = append(faults.Transient, errors.New(OneLine(err.Error())))
	}
	for _, w := range in.Faults.Waiting {
		faults.Waiting = append(faults.Waiting, &fault.Waiting{For: OneLine(w.For)})
	}
	in.Faults = faults
	for _, controller := range []*Controller{&in.Certificates, &in.NodeTrust} {
		controller.Message, controller.Problem = OneLine(controller.Message), briefProblem(controller.Problem)
	}
	for _, text := range []*string{&in.PullSecrets.Message, &in.Storage.Message, &in.APIServiceMessage, &in.Removal.Waiting} {
		*text = OneLine(*text)
	}
	routes := make([]string, len(in.Routes))
	for i, problem := range in.Routes {
		routes[i] = OneLine(problem)
	}
	in.Routes = routes
	return in
}

func briefProblem(p *fault.Permanent) *fault.Permanent {
	if p == nil {
		return nil
	}
	return &fault.Permanent{Reason: p.Reason, Message: OneLine(p.Message)}
}

// OneLine ends a text that is too long with its last words, which say what to do.
func OneLine(text string) string {
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "?")
	if len(text) <= maxFinding {
		return text
	}
	const head = maxFinding * 3 / 4
	return strings.ToValidUTF8(text[:head], "") + " … " + strings.ToValidUTF8(text[len(text)-(maxFinding-head):], "")
}

func clip(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage], "") + "…"
}
