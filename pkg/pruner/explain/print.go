package explain

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/yaml"

	"image.alauda.io/registry/pkg/pruner/report"
)

// shownUsers bounds how many users of one reason the text names; the documents name all.
const shownUsers = 10

// Print writes the explanation as text, json or yaml.
func (e *Explanation) Print(out io.Writer, format string) error {
	var text []byte
	var err error
	switch format {
	case "json":
		text, err = json.MarshalIndent(e, "", "  ")
		text = append(text, '\n')
	case "yaml":
		text, err = yaml.Marshal(e)
	default:
		text = []byte(e.text())
	}
	if err != nil {
		return fmt.Errorf("encode explanation: %w", err)
	}
	_, err = out.Write(text)
	return err
}

func (e *Explanation) text() string {
	var out strings.Builder
	switch {
	case !e.Exists:
		fmt.Fprintf(&out, "There is no Image %s.\n", e.Digest)
	case e.Kept:
		fmt.Fprintf(&out, "Image %s stays.\n", e.Digest)
	default:
		fmt.Fprintf(&out, "Image %s would be deleted.\n", e.Digest)
	}
	for _, place := range e.Revisions {
		outcome := "would be removed"
		if place.Kept {
			outcome = "stays"
		}
		fmt.Fprintf(&out, "\n%s/%s:%s, revision %d, %s old: %s.\n", place.Namespace, place.Name, place.Tag, place.Revision, place.Age, outcome)
		list(&out, place.Reasons)
	}
	if len(e.Reasons) > 0 {
		fmt.Fprintf(&out, "\nThe Image itself:\n")
		list(&out, e.Reasons)
	}
	return out.String()
}

func list(out io.Writer, reasons []Reason) {
	for _, reason := range reasons {
		fmt.Fprintf(out, "- %s\n", report.OneLine(reason.Message))
		for i, user := range reason.Users {
			if i == shownUsers {
				fmt.Fprintf(out, "    and %d more\n", len(reason.Users)-i)
				break
			}
			fmt.Fprintf(out, "    %s\n", report.OneLine(user.String()))
		}
		if reason.Change != "" {
			fmt.Fprintf(out, "  %s\n", reason.Change)
		}
	}
}

// String names the field.
func (u User) String() string {
	name := u.Kind + " " + u.Name
	if u.Namespace != "" {
		name = u.Kind + " " + u.Namespace + "/" + u.Name
	}
	if u.Path != "" {
		name += " " + u.Path
	}
	if u.Value != "" {
		name += fmt.Sprintf(": %q", u.Value)
	}
	return name
}
