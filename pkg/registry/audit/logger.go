package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Logger writes the audit log. A nil Logger writes nothing.
type Logger struct {
	now    func() time.Time
	failed func(error)

	mu   sync.Mutex
	out  io.Writer
	file *os.File
	// torn says that the last line ends in its middle.
	torn bool
}

// Options of a Logger.
type Options struct {
	// Path of the file that is appended to; it is made with mode 0600. Empty for Out.
	Path string
	// Out is used without a path.
	Out io.Writer
	// Now is the clock.
	Now func() time.Time
	// Failed is told about lines that could not be written, or not to where they belong.
	Failed func(error)
}

// Validate checks the options.
func (o Options) Validate() error {
	if o.Now == nil || o.Failed == nil || o.Path == "" && o.Out == nil {
		return errors.New("audit options: clock, writer and Failed must be given")
	}
	return nil
}

// Open returns the Logger; Close it in the end.
func Open(options Options) (*Logger, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	l := &Logger{now: options.Now, failed: options.Failed, out: options.Out}
	if options.Path == "" {
		return l, nil
	}
	file, err := open(options.Path)
	if err != nil {
		return nil, err
	}
	l.file, l.out = file, file
	return l, nil
}

func open(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return file, nil
}

// Log writes down what is to be known of a request. A line that cannot be written fails no
// request: who fills the disk of the log would stop the cluster's pulls.
func (l *Logger) Log(e Exchange) {
	if l == nil {
		return
	}
	for _, record := range Records(e, l.now()) {
		line, err := json.Marshal(record)
		if err == nil {
			err = l.write(append(line, '\n'))
		}
		if err != nil {
			l.failed(fmt.Errorf("audit log: %w", err))
		}
	}
}

// write writes a line at once, so that lines of several requests do not mix. A file that
// was moved away, as rotation does, is opened anew; where that is not possible the line goes
// to where the last one went, and the error is reported all the same. What a full disk cut
// off gets its end before the next line, which would be lost with it otherwise.
func (l *Logger) write(line []byte) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		if err = l.follow(); err != nil {
			err = fmt.Errorf("going on with the file that was open: %w", err)
		}
	}
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, writeErr := l.out.Write(line)
	if n > 0 {
		l.torn = n < len(line)
	}
	return errors.Join(err, writeErr)
}

// follow opens the path again when another file, or none, is there by now.
func (l *Logger) follow() error {
	path := l.file.Name()
	own, err := l.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(path)
	if err == nil && os.SameFile(own, there) {
		return nil
	}
	file, err := open(path)
	if err != nil {
		return err
	}
	old := l.file
	l.file, l.out, l.torn = file, file, false
	return old.Close()
}

// Close ends the log.
func (l *Logger) Close() error {
	if l == nil || l.file == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
