package logging

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Quieter moves a message to a higher verbosity. It is for messages of libraries that come again and again
// from a process in which nothing happens.
type Quieter struct {
	// Message is the exact text.
	Message string
	// Verbosity from which it is written, on the klog scale.
	Verbosity int
}

// quietCore leaves such messages out as long as the verbosity is lower.
type quietCore struct {
	zapcore.Core
	level     zap.AtomicLevel
	verbosity map[string]int
}

func quieter(core zapcore.Core, level zap.AtomicLevel, messages []Quieter) zapcore.Core {
	if len(messages) == 0 {
		return core
	}
	verbosity := map[string]int{}
	for _, m := range messages {
		verbosity[m.Message] = min(m.Verbosity, mostVerbosity)
	}
	return &quietCore{Core: core, level: level, verbosity: verbosity}
}

// With implements zapcore.Core.
func (c *quietCore) With(fields []zapcore.Field) zapcore.Core {
	with := *c
	with.Core = c.Core.With(fields)
	return &with
}

// Check implements zapcore.Core.
func (c *quietCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if verbosity, quiet := c.verbosity[entry.Message]; quiet && !c.level.Enabled(zapcore.Level(-verbosity)) {
		return checked
	}
	return c.Core.Check(entry, checked)
}
