package ociconformance

import "testing"

// A status that is neither passed nor skipped is a failure, also one that nobody knew when this was written.
func TestResultsAreCounted(t *testing.T) {
	results, err := parse([]byte(`<testsuites><testsuite>
<testcase name="a" status="passed"></testcase><testcase name="b" status="skipped"></testcase>
<testcase name="c" status="failure"><system-out>wrong</system-out></testcase><testcase name="d" status="error"></testcase>
<testcase name="e"></testcase></testsuite></testsuites>`))
	if err != nil {
		t.Fatal(err)
	}
	if results.Passed != 1 || results.Skipped != 1 || len(results.Failed) != 3 || results.Failed[0] != "c: failure: wrong" {
		t.Errorf("results %+v", results)
	}
	if _, err := parse([]byte("<testsuites><testsuite>")); err == nil {
		t.Error("half a file is taken for results")
	}
}
