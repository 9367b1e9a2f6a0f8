// Package logging gives a process its one logger.
//
// Setup builds a zap logger that writes JSON lines to stderr and routes everything else that logs in
// the process into it: klog (client-go, apiserver, leader election), logrus (the storage engine of
// distribution) and the standard library's log package. Verbosity is counted on the klog scale, so
// that one number rules all of them: 0 to 2 is information, 3 and above is debug output. It can be
// changed while the process runs.
//
// Nothing in this package redacts anything: callers never pass tokens, passwords or certificates. The
// verbosity never goes beyond 7, whatever is asked for: from 8 on client-go logs the bodies of requests,
// and those hold tokens (TokenReview, TokenRequest) and Secrets.
package logging

import (
	"cmp"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/go-logr/zapr"
	"github.com/sirupsen/logrus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

// debugVerbosity is the klog verbosity from which debug lines are written.
const debugVerbosity = 3

// mostVerbosity is the highest verbosity at which no library logs bodies of requests.
const mostVerbosity = 7

// Options of SetupWith.
type Options struct {
	// Component is the name of the binary.
	Component string
	// Verbosity is on the klog scale; more than 7 means 7.
	Verbosity int
	// Least is the lowest level that is written when the verbosity is 0: info, or warn or error
	// to leave out more.
	Least zapcore.Level
	// Text writes lines for the eye in place of JSON.
	Text bool
	// TimeKey is the name of the time in JSON; empty for "time".
	TimeKey string
	// Fields stand in every line.
	Fields map[string]any
	// Quieter are messages that need more verbosity.
	Quieter []Quieter
}

// SetupWith is Setup with everything that can be chosen.
func SetupWith(options Options) *Logger { return setup(options, os.Stderr) }

// Logger is a zap logger whose verbosity can be changed at run time.
type Logger struct {
	*zap.Logger
	level zap.AtomicLevel
}

// Setup builds the logger of the process, named after the binary, and routes klog, logrus and the
// standard logger into it. Verbosity is on the klog scale; more than 7 means 7. Messages can be made quieter.
func Setup(component string, verbosity int, messages ...Quieter) *Logger {
	return setup(Options{Component: component, Verbosity: verbosity, Quieter: messages}, os.Stderr)
}

func setup(options Options, out io.Writer) *Logger {
	level := zap.NewAtomicLevelAt(startLevel(options))
	core := zapcore.NewCore(encoder(options), zapcore.Lock(zapcore.AddSync(out)), level)
	logger := &Logger{Logger: zap.New(quieter(core, level, options.Quieter)).Named(options.Component).With(fields(options.Fields)...), level: level}

	klog.SetLogger(zapr.NewLogger(logger.Logger))
	setKlogVerbosity(options.Verbosity)
	routeLogrus(logger.Logger, options.Verbosity)
	log.SetFlags(0)
	log.SetOutput(zapWriter{logger.Logger})
	return logger
}

func startLevel(options Options) zapcore.Level {
	if options.Verbosity <= 0 && options.Least > zapcore.InfoLevel {
		return options.Least
	}
	return zapLevel(options.Verbosity)
}

// fields are in the order of their names, so that all lines are alike.
func fields(given map[string]any) (list []zap.Field) {
	for _, key := range slices.Sorted(maps.Keys(given)) {
		list = append(list, zap.Any(key, given[key]))
	}
	return list
}

func encoder(options Options) zapcore.Encoder {
	config := zapcore.EncoderConfig{
		TimeKey:        cmp.Or(options.TimeKey, "time"),
		LevelKey:       "level",
		NameKey:        "logger",
		MessageKey:     "msg",
		StacktraceKey:  "stacktrace",
		LineEnding:     zapcore.DefaultLineEnding,
		EncodeLevel:    lowercaseLevel,
		EncodeTime:     zapcore.RFC3339NanoTimeEncoder,
		EncodeDuration: zapcore.StringDurationEncoder,
	}
	if options.Text {
		return zapcore.NewConsoleEncoder(config)
	}
	return zapcore.NewJSONEncoder(config)
}

// SetVerbosity changes the verbosity of the whole process, klog included.
func (l *Logger) SetVerbosity(verbosity int) {
	l.level.SetLevel(zapLevel(verbosity))
	setKlogVerbosity(verbosity)
	logrus.SetLevel(logrusLevel(verbosity))
}

// zapLevel maps klog verbosity to zap: zapr turns V(n) into level -n, so the level must be low enough
// to let those through.
func zapLevel(verbosity int) zapcore.Level {
	if verbosity < debugVerbosity {
		return zapcore.Level(-min(max(verbosity, 0), debugVerbosity-1))
	}
	return zapcore.Level(-min(verbosity, mostVerbosity))
}

// lowercaseLevel writes "info" for V(1) and V(2) and "debug" for anything more detailed: zap has no
// names for the levels below debug that zapr produces.
func lowercaseLevel(level zapcore.Level, enc zapcore.PrimitiveArrayEncoder) {
	switch {
	case level > -debugVerbosity && level < zapcore.InfoLevel:
		level = zapcore.InfoLevel
	case level <= -debugVerbosity:
		level = zapcore.DebugLevel
	}
	zapcore.LowercaseLevelEncoder(level, enc)
}

func setKlogVerbosity(verbosity int) {
	var level klog.Level
	if err := level.Set(strconv.Itoa(min(max(verbosity, 0), mostVerbosity))); err != nil {
		panic(fmt.Sprintf("klog refused verbosity %d: %v", verbosity, err)) // cannot happen: an integer is always accepted
	}
}

func routeLogrus(logger *zap.Logger, verbosity int) {
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrusLevel(verbosity))
	logrus.StandardLogger().ReplaceHooks(logrus.LevelHooks{})
	logrus.AddHook(logrusHook{logger.Named("distribution")})
}

func logrusLevel(verbosity int) logrus.Level {
	if verbosity >= debugVerbosity {
		return logrus.DebugLevel
	}
	return logrus.WarnLevel
}

// logrusHook forwards entries of logrus' standard logger. The fields are dropped except for errors:
// distribution puts whole requests into them. What it calls information is debug output: it
// tells of its own steps.
type logrusHook struct{ logger *zap.Logger }

func (h logrusHook) Levels() []logrus.Level { return logrus.AllLevels }

// aliasRead begins what distribution warns about at every read by a digest that is not the
// canonical one, which is nothing that anybody should change.
const aliasRead = "looking up blob with canonical target"

func (h logrusHook) Fire(entry *logrus.Entry) error {
	if strings.HasPrefix(entry.Message, aliasRead) {
		return nil
	}
	var fields []zap.Field
	if err, ok := entry.Data[logrus.ErrorKey].(error); ok {
		fields = append(fields, zap.Error(err))
	}
	h.logger.Log(fromLogrus(entry.Level), entry.Message, fields...)
	return nil
}

func fromLogrus(level logrus.Level) zapcore.Level {
	switch level {
	case logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel:
		return zapcore.ErrorLevel
	case logrus.WarnLevel:
		return zapcore.WarnLevel
	default:
		return zapcore.Level(-debugVerbosity)
	}
}

// zapWriter receives lines of the standard logger, for example of net/http servers.
type zapWriter struct{ logger *zap.Logger }

func (w zapWriter) Write(line []byte) (int, error) {
	text := line
	for len(text) > 0 && text[len(text)-1] == '\n' {
		text = text[:len(text)-1]
	}
	w.logger.Warn(string(text))
	return len(line), nil
}
