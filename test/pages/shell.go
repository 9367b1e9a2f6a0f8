package pages

import "strings"

// Command is one simple command of a shell text: its words without quotes. Words of substitutions are $(…).
type Command []string

// Commands takes a shell text apart into simple commands, those within substitutions included. It knows what the
// pages use: quotes, continued lines, comments, pipes, lists, loops, here documents; not the whole language.
func Commands(text string) []Command {
	s := &shell{rest: strings.ReplaceAll(text, "\\\n", " ")}
	s.list(0)
	return s.found
}

type shell struct {
	rest  string
	found []Command
}

// words of the grammar before which, and after which, a command may begin.
var reserved = map[string]bool{"if": true, "then": true, "else": true, "elif": true, "fi": true, "do": true, "done": true,
	"until": true, "while": true, "!": true, "{": true, "}": true, "for": false}

// list reads commands until the character that closes the list, or the end.
func (s *shell) list(closing byte) {
	var words Command
	var word strings.Builder
	begun := false
	endWord := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	endCommand := func() {
		endWord()
		for len(words) > 0 && (reserved[words[0]] || assignment(words[0])) {
			words = words[1:]
		}
		if len(words) > 0 {
			s.found = append(s.found, words)
		}
		words = nil
	}
	for s.rest != "" {
		c := s.rest[0]
		s.rest = s.rest[1:]
		switch {
		case closing != 0 && c == closing:
			endCommand()
			return
		case c == '\'':
			text, rest, _ := strings.Cut(s.rest, "'")
			word.WriteString(text)
			s.rest, begun = rest, true
		case c == '"':
			word.WriteString(s.quoted())
			begun = true
		case c == '$' && strings.HasPrefix(s.rest, "("):
			s.rest = s.rest[1:]
			s.list(')')
			word.WriteString("$(…)")
			begun = true
		case c == '\\' && s.rest != "":
			word.WriteByte(s.rest[0])
			s.rest, begun = s.rest[1:], true
		case c == '#' && !begun:
			s.skipLine()
		case c == '<' && strings.HasPrefix(s.rest, "<<"):
			word.WriteString("<<<")
			s.rest, begun = s.rest[2:], true
		case c == '<' && strings.HasPrefix(s.rest, "<"):
			endWord()
			s.here(&words)
		case c == '\n' || c == ';' || c == '|' || c == '&' && !strings.HasSuffix(word.String(), ">"):
			endCommand()
		case c == ' ' || c == '\t':
			endWord()
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	endCommand()
}

// quoted reads the rest of a text in double quotes.
func (s *shell) quoted() string {
	var out strings.Builder
	for s.rest != "" {
		c := s.rest[0]
		s.rest = s.rest[1:]
		switch {
		case c == '"':
			return out.String()
		case c == '\\' && s.rest != "":
			out.WriteByte(s.rest[0])
			s.rest = s.rest[1:]
		case c == '$' && strings.HasPrefix(s.rest, "("):
			s.rest = s.rest[1:]
			s.list(')')
			out.WriteString("$(…)")
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

// here reads a here document and adds it as a word, << before it. What follows its name on the line is not used by the pages.
func (s *shell) here(words *Command) {
	s.rest = strings.TrimLeft(s.rest[1:], "-")
	first, rest, _ := strings.Cut(s.rest, "\n")
	end := strings.Trim(strings.TrimSpace(first), `'"`)
	text, rest, _ := strings.Cut(rest, "\n"+end+"\n")
	*words = append(*words, "<<", text+"\n")
	s.rest = "\n" + rest
}

func (s *shell) skipLine() {
	if at := strings.IndexByte(s.rest, '\n'); at >= 0 {
		s.rest = s.rest[at:]
		return
	}
	s.rest = ""
}

// assignment says whether a word before a command sets a variable for it.
func assignment(word string) bool {
	name, _, found := strings.Cut(word, "=")
	if !found || name == "" {
		return false
	}
	return strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == ""
}
