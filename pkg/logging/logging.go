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
	"fmt"
	"io"
	"log"
	"os"
	"strconv"

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

// Logger is a zap logger whose verbosity can be changed at run time.
type Logger struct {
	*zap.Logger
	level zap.AtomicLevel
}

// Setup builds the logger of the process, named after the binary, and routes klog, logrus and the
// standard logger into it. Verbosity is on the klog scale; more than 7 means 7. Messages can be made quieter.
func Setup(component string, verbosity int, messages ...Quieter) *Logger {
	return setup(component, verbosity, os.Stderr, messages...)
}

func setup(component string, verbosity int, out io.Writer, messages ...Quieter) *Logger {
	level := zap.NewAtomicLevelAt(zapLevel(verbosity))
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey:        "time",
		LevelKey:       "level",
		NameKey:        "logger",
		MessageKey:     "msg",
		StacktraceKey:  "stacktrace",
		LineEnding:     zapcore.DefaultLineEnding,
		EncodeLevel:    lowercaseLevel,
		EncodeTime:     zapcore.RFC3339NanoTimeEncoder,
		EncodeDuration: zapcore.StringDurationEncoder,
	})
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), level)
	logger := &Logger{Logger: zap.New(quieter(core, level, messages)).Named(component), level: level}

	klog.SetLogger(zapr.NewLogger(logger.Logger))
	setKlogVerbosity(verbosity)
	routeLogrus(logger.Logger)
	log.SetFlags(0)
	log.SetOutput(zapWriter{logger.Logger})
	return logger
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

func routeLogrus(logger *zap.Logger) {
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrusLevel(0))
	logrus.StandardLogger().ReplaceHooks(logrus.LevelHooks{})
	logrus.AddHook(logrusHook{logger.Named("distribution")})
}

func logrusLevel(verbosity int) logrus.Level {
	if verbosity >= debugVerbosity {
		return logrus.DebugLevel
	}
	return logrus.InfoLevel
}

// logrusHook forwards entries of logrus' standard logger. The fields are dropped except for errors:
// distribution puts whole requests into them.
type logrusHook struct{ logger *zap.Logger }

func (h logrusHook) Levels() []logrus.Level { return logrus.AllLevels }

func (h logrusHook) Fire(entry *logrus.Entry) error {
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
	case logrus.InfoLevel:
		return zapcore.InfoLevel
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
