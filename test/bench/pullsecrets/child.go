package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/flowcontrol"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/logging"
	"image.alauda.io/registry/pkg/operator/app"
	"image.alauda.io/registry/pkg/operator/render"
)

// childVariable names the kubeconfig of a process that runs the operator instead of the measurement.
const childVariable = "PULLSECRETS_OPERATOR_KUBECONFIG"

// verbosityVariable and metricsVariable change the operator's verbosity and the address of its metrics.
const (
	verbosityVariable = "PULLSECRETS_OPERATOR_VERBOSITY"
	metricsVariable   = "PULLSECRETS_OPERATOR_METRICS"
	// hurryVariable takes the limit of requests away, profileVariable names the directory for profiles of memory.
	hurryVariable   = "PULLSECRETS_OPERATOR_HURRY"
	profileVariable = "PULLSECRETS_OPERATOR_PROFILE"
)

// child is the operator, as its binary would run it.
func child() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	verbosity, err := strconv.Atoi(cmp.Or(os.Getenv(verbosityVariable), "2"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	logger := logging.Setup(registryv1.OperatorName, verbosity)
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv(childVariable))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if os.Getenv(hurryVariable) != "" {
		config.RateLimiter = flowcontrol.NewFakeAlwaysRateLimiter()
	}
	if dir := os.Getenv(profileVariable); dir != "" {
		go profiles(ctx, dir)
	}
	o := app.DefaultOptions()
	o.MetricsAddress = cmp.Or(os.Getenv(metricsVariable), "127.0.0.1:0")
	o.HealthAddress, o.LeaderElect = "127.0.0.1:0", false
	o.Settings = render.Settings{
		Namespace: registryv1.DefaultNamespace, ClusterDomain: "cluster.local", Version: "v0.0.0",
		Images: render.Images{Registry: "r:1", APIServer: "a:1", NodeCA: "n:1", Pruner: "p:1"},
	}
	if err := app.RunWith(ctx, o, config, logger.SetVerbosity); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// operator is the child process.
type operator struct {
	cmd *exec.Cmd
	log bytes.Buffer
}

// environment is what the operator's process is told by the options.
func (o options) environment() (variables []string) {
	if o.hurry {
		variables = append(variables, hurryVariable+"=yes")
	}
	if o.profile != "" {
		variables = append(variables, profileVariable+"="+o.profile)
	}
	return variables
}

func startOperator(kubeconfig string, environment ...string) (*operator, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	o := &operator{cmd: exec.Command(self)}
	o.cmd.Env = append(append(os.Environ(), environment...), childVariable+"="+kubeconfig)
	o.cmd.Stderr = &o.log
	return o, o.cmd.Start()
}

// stop ends the process as the kubelet would.
func (o *operator) stop() error {
	if o == nil || o.cmd.Process == nil {
		return nil
	}
	_ = o.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
	err := o.cmd.Wait()
	if err != nil {
		text := o.log.String()
		return fmt.Errorf("operator: %w; end of its log:\n%s", err, text[max(0, len(text)-2000):])
	}
	return nil
}

// profile asks the process for a profile of its memory and waits until it is there.
func (o *operator) profile(ctx context.Context, dir string) error {
	if err := o.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		return err
	}
	file := filepath.Join(dir, fmt.Sprintf("%d.heap", o.cmd.Process.Pid))
	return poll(ctx, time.Minute, 100*time.Millisecond, func() (bool, error) {
		_, err := os.Stat(file)
		return err == nil, nil
	})
}

// memory is the resident memory now, without pages of files, and the most there ever was with them.
func (o *operator) memory() (anonymous, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", o.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	return field(string(status), "RssAnon:"), field(string(status), "VmHWM:"), nil
}

func field(status, name string) int64 {
	_, rest, _ := strings.Cut(status, name)
	words := strings.Fields(rest)
	if len(words) == 0 {
		return 0
	}
	kilobytes, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return 0
	}
	return kilobytes << 10
}
