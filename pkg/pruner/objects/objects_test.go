package objects

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestListsAreReadObjectByObject(t *testing.T) {
	tests := []struct {
		name, body string
		items      []string
		page       Page
		broken     bool
		problem    string
	}{
		{name: "in the order of the API server", body: `{"apiVersion":"x/v1","items":[{"n":"a"},{"n":"b"}],"kind":"XList","metadata":{"continue":"next","resourceVersion":"7"}}`,
			items: []string{"a", "b"}, page: Page{"next", "7", 2}},
		{name: "metadata first", body: `{"metadata":{"resourceVersion":"7"},"items":[{"n":"a"}]}`, items: []string{"a"}, page: Page{"", "7", 1}},
		{name: "empty", body: `{"metadata":{"resourceVersion":"7"},"items":[]}`, page: Page{"", "7", 0}},
		{name: "null", body: `{"metadata":{"resourceVersion":"7"},"items":null}`, page: Page{"", "7", 0}},
		{name: "cut between objects", body: `{"items":[{"n":"a"},`, items: []string{"a"}, broken: true},
		{name: "cut in an object", body: `{"items":[{"n":"a"},{"n":`, items: []string{"a"}, broken: true},
		{name: "cut behind the items", body: `{"items":[{"n":"a"}],"metadata":{"continue":"x"}`, items: []string{"a"}, broken: true},
		{name: "nothing", body: ``, broken: true},
		{name: "another object", body: `{"kind":"Status","status":"Success"}`, problem: "not a list"},
		{name: "not JSON", body: `<html>`, problem: "read the list"},
		{name: "items of another kind", body: `{"items":{"a":1}}`, problem: "not a list"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var items []string
			page, err := readList(strings.NewReader(test.body), func(object map[string]any) {
				items = append(items, object["n"].(string))
			})
			if !slices.Equal(items, test.items) {
				t.Errorf("items %v, want %v", items, test.items)
			}
			switch {
			case test.broken && !errors.Is(err, io.ErrUnexpectedEOF):
				t.Errorf("%v, want an early end", err)
			case test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)):
				t.Errorf("%v, want %q", err, test.problem)
			case !test.broken && test.problem == "" && (err != nil || page != test.page):
				t.Errorf("%+v, %v, want %+v", page, err, test.page)
			}
		})
	}
}
