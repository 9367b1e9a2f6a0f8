package logging

import (
	"bytes"
	"slices"
	"testing"

	"k8s.io/klog/v2"
)

func TestRepeatedMessagesNeedMoreVerbosity(t *testing.T) {
	var out bytes.Buffer
	logger := setup(Options{Component: "test", Verbosity: 2, Quieter: []Quieter{Quieter{Message: "again", Verbosity: 4}}}, &out)
	write := func() []string {
		out.Reset()
		klog.V(2).InfoS("again", "n", 1)
		klog.LoggerWithValues(klog.Background(), "of", "a part").V(2).Info("again")
		logger.Info("again and again")
		klog.V(2).InfoS("news")
		var messages []string
		for _, l := range lines(t, &out) {
			messages = append(messages, l.Msg)
		}
		return messages
	}
	if got, want := write(), []string{"again and again", "news"}; !slices.Equal(got, want) {
		t.Errorf("at verbosity 2: %q, want %q", got, want)
	}
	logger.SetVerbosity(4)
	if got, want := write(), []string{"again", "again", "again and again", "news"}; !slices.Equal(got, want) {
		t.Errorf("at verbosity 4: %q, want %q", got, want)
	}
}
