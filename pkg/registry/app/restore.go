package app

import (
	"context"
	"fmt"
	"time"

	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/gc"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/recovery"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// runRestore compares the storage with the image API.
func runRestore(ctx context.Context, c *config.Config, m *modes, to output) error {
	log := modeLog(c)
	defer log.Sync() //nolint:errcheck // stderr cannot be synced everywhere
	options := recovery.Options{}
	kubeConfig, err := restConfig(c)
	if err != nil {
		return err
	}
	if options.API, err = imageapi.NewKubeClient(kubeConfig); err != nil {
		return err
	}
	if options.Metadata, err = gc.NewKubeMetadata(kubeConfig); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(kubeConfig)
	if err != nil {
		return fmt.Errorf("kubernetes client: %w", err)
	}
	options.NamespaceExists = namespaceExists(client)
	// The checks write nothing, no markers either.
	readOnly := m.restoreMode != string(recovery.Recover)
	if options.Store, err = openStore(ctx, c, readOnly); err != nil {
		return err
	}
	return restore(ctx, c, m, options, to)
}

// restore runs with what it works on.
func restore(ctx context.Context, c *config.Config, m *modes, options recovery.Options, to output) error {
	options.Mode, options.Namespace = recovery.Mode(m.restoreMode), m.restoreNamespace
	options.ServerAddr = c.Alauda.Server.Addr
	options.Output, options.Progress = to.out, to.problems
	options.Now, options.Wait = time.Now, wait
	run, err := recovery.New(options)
	if err != nil {
		return err
	}
	summary, err := run.Run(ctx)
	if printErr := summary.Print(to.out, options.Mode); err == nil && printErr != nil {
		err = fmt.Errorf("write the summary: %w", printErr)
	}
	switch {
	case err != nil:
		return fmt.Errorf("-%s=%s ended early, run it again: %w", flagRestoreMode, m.restoreMode, err)
	case summary.Left() > 0:
		return fmt.Errorf("%d %w", summary.Left(), errProblems)
	}
	return nil
}

func namespaceExists(client kubernetes.Interface) func(context.Context, string) (bool, error) {
	return func(ctx context.Context, name string) (bool, error) {
		_, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	}
}
