package app

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"image.alauda.io/registry/pkg/logging"
	"image.alauda.io/registry/pkg/registry/audit"
	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/tracing"

	"github.com/distribution/distribution/v3/configuration"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// debugVerbosity is what log.level debug means on the scale of klog.
const debugVerbosity = 4

// logOptions reads the section log.
func logOptions(c configuration.Log) logging.Options {
	options := logging.Options{Component: component, TimeKey: "ts", Text: c.Formatter == "text", Fields: c.Fields}
	switch c.Level {
	case "debug":
		options.Verbosity = debugVerbosity
	case "warn":
		options.Least = zapcore.WarnLevel
	case "error":
		options.Least = zapcore.ErrorLevel
	}
	return options
}

// watchers look at every request: the audit log and tracing, each nil when it is off.
type watchers struct {
	audit   *audit.Logger
	tracing *tracing.Tracing
}

func startWatchers(ctx context.Context, c *config.Config, stdout io.Writer, log *zap.Logger) (watchers, error) {
	var w watchers
	var err error
	if c.Alauda.Audit.Enabled {
		w.audit, err = audit.Open(audit.Options{
			Path: c.Alauda.Audit.Path, Out: stdout, Now: time.Now,
			Failed: func(err error) { log.Error("the audit log is incomplete or elsewhere", zap.Error(err)) },
		})
		if err != nil {
			return w, err
		}
	}
	if w.tracing, err = tracing.Start(ctx, component, os.Getenv, log); err != nil {
		return w, errors.Join(err, w.audit.Close())
	}
	return w, nil
}

// stop writes what is left.
func (w watchers) stop() error { return errors.Join(w.tracing.Stop(), w.audit.Close()) }
