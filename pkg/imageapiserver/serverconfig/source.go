// Package serverconfig reads the configuration file of the image API server (kind
// ImageAPIServerConfig) and follows its changes while the server runs.
//
// In: the path of a file, usually a key of a mounted ConfigMap. Out: the current configuration, with
// defaults filled in, to be asked for whenever it is needed. What package imageapiconfig does not take
// is refused: at the start the server does not come up, later the last good configuration stays and the
// failure is logged and counted.
//
// The package interprets nothing beyond validity and never writes the file.
package serverconfig

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/klog/v2"

	configv1 "image.alauda.io/api/config/v1"
	"image.alauda.io/registry/pkg/imageapiconfig"
)

// PollInterval is how often the file is read again. A mounted ConfigMap takes up to a minute to
// change anyway, and reading a small file costs less than watching it through its symbolic links.
const PollInterval = 5 * time.Second

var (
	reloadErrors = metrics.NewCounter(&metrics.CounterOpts{
		Name:           "image_apiserver_config_reload_errors_total",
		Help:           "Number of changed configuration files that were refused.",
		StabilityLevel: metrics.ALPHA,
	})
	registerMetrics = sync.OnceFunc(func() { legacyregistry.MustRegister(reloadErrors) })
)

// Source holds the current configuration.
type Source struct {
	// Refused, when set before Run, is told why a changed file was not taken over, once for each version.
	Refused func(error)

	path string
	data []byte
	// unreadable is why the file could not be read the last time.
	unreadable string
	current    atomic.Pointer[configv1.ImageAPIServerConfig]
}

// NewSource loads the file. It fails when the configuration is not valid.
func NewSource(path string) (*Source, error) {
	registerMetrics()
	s := &Source{path: path}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if err := s.accept(data); err != nil {
		return nil, err
	}
	return s, nil
}

// Current returns the configuration in force. It must not be modified.
func (s *Source) Current() *configv1.ImageAPIServerConfig { return s.current.Load() }

// Run follows changes of the file until the context ends. Tick tells when to look.
func (s *Source) Run(ctx context.Context, tick <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			s.reload()
		}
	}
}

// reload takes a changed file over, or keeps what there is. Each bad version is reported once.
func (s *Source) reload() {
	data, err := os.ReadFile(s.path)
	if err != nil {
		if err.Error() == s.unreadable {
			return
		}
		s.unreadable = err.Error()
		err = fmt.Errorf("configuration: %w", err)
	} else {
		s.unreadable = ""
		if bytes.Equal(data, s.data) {
			return
		}
		err = s.accept(data)
	}
	if err != nil {
		reloadErrors.Inc()
		klog.ErrorS(err, "The changed configuration is refused, the last good one stays in force")
		if s.Refused != nil {
			s.Refused(err)
		}
		return
	}
	klog.InfoS("Configuration changed", "file", s.path)
}

func (s *Source) accept(data []byte) error {
	s.data = data
	config, err := imageapiconfig.Parse(data)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", s.path, err)
	}
	s.current.Store(config)
	return nil
}
