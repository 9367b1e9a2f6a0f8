//go:build component

package imageoperation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/controllers"
	"image.alauda.io/registry/test/imageapi"
)

const apiServiceName = "v1.image.alauda.io"

// Behaviour 63: replicas are replaced one after the other, a new one first, under lists, reads and pushes
// that are never tried again. None fails, the APIService stays Available, and the Lease goes to a replica
// that runs as soon as its holder has stopped and not when it has expired.
func TestRollingUpdateFailsNoRequest(t *testing.T) {
	const delay = 3 * time.Second
	s := imageapi.Prepare(t, shared.Get(t))
	flags := []string{"--shutdown-delay-duration=" + delay.String()}
	balancer := newBalancer(t)
	var replicas []*imageapi.Replica
	for range 2 {
		replica := s.Replica(t, flags...)
		balancer.add(t, replica)
		replicas = append(replicas, replica)
	}
	s.Register(t, balancer.port())
	namespace := newNamespace(t, s)
	available := watchAvailability(t, s)
	leases := watchLease(t, s)
	watched := followStream(t, s, namespace)
	load := startLoad(t, s, namespace)

	for range 3 {
		next := s.Replica(t, flags...)
		balancer.add(t, next)
		progress := load.more(20)
		imageapi.Eventually(t, "the load is served before the stop", func(context.Context) error { return progress() })
		leaves := replicas[0]
		replicas = append(replicas[1:], next)
		leaves.Stop()
	}
	progress := load.more(20)
	imageapi.Eventually(t, "the load is served after the last stop", func(context.Context) error { return progress() })
	load.stop()
	t.Logf("%d requests over %d connections", load.served.Load(), balancer.accepted.Load())
	available()
	leases()
	watched()
}

// watchAvailability returns a function that fails the test if the APIService was not Available in between.
func watchAvailability(t *testing.T, s *imageapi.Server) (check func()) {
	t.Helper()
	apis := aggregatorclient.NewForConfigOrDie(s.CP.Config).ApiregistrationV1().APIServices()
	state := func(api *apiregistrationv1.APIService) (available bool, reason string) {
		for _, condition := range api.Status.Conditions {
			if condition.Type == apiregistrationv1.Available {
				return condition.Status == apiregistrationv1.ConditionTrue, condition.Reason + ": " + condition.Message
			}
		}
		return false, "no condition"
	}
	imageapi.Eventually(t, "the APIService is available", func(ctx context.Context) error {
		api, err := apis.Get(ctx, apiServiceName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if available, reason := state(api); !available {
			return errors.New(reason)
		}
		return nil
	})
	events, err := apis.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + apiServiceName})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(events.Stop)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range events.ResultChan() {
			if api, ok := event.Object.(*apiregistrationv1.APIService); ok && event.Type == watch.Modified {
				if available, reason := state(api); !available {
					t.Errorf("the APIService was not available: %s", reason)
				}
			}
		}
	}()
	return func() {
		events.Stop()
		<-done
	}
}

// watchLease returns a function that fails the test unless the Lease moved, and each time before it expired.
func watchLease(t *testing.T, s *imageapi.Server) (check func()) {
	t.Helper()
	leases := s.Kube.CoordinationV1().Leases(imageapi.SystemNamespace)
	var last *coordinationv1.Lease
	imageapi.Eventually(t, "a replica leads", func(ctx context.Context) error {
		var err error
		last, err = leases.Get(ctx, controllers.LeaseName, metav1.GetOptions{})
		if err == nil && holder(last) == "" {
			err = errors.New("nobody holds the Lease")
		}
		return err
	})
	events, err := leases.Watch(t.Context(), metav1.ListOptions{ResourceVersion: last.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(events.Stop)
	done := make(chan struct{})
	moves := 0
	go func() {
		defer close(done)
		for event := range events.ResultChan() {
			lease, ok := event.Object.(*coordinationv1.Lease)
			if !ok || lease.Name != controllers.LeaseName || holder(lease) == "" {
				continue
			}
			if holder(lease) != holder(last) {
				moves++
				expiry := last.Spec.RenewTime.Add(time.Duration(*last.Spec.LeaseDurationSeconds) * time.Second)
				if took := lease.Spec.AcquireTime.Sub(last.Spec.RenewTime.Time); !lease.Spec.AcquireTime.Before(&metav1.MicroTime{Time: expiry}) {
					t.Errorf("the Lease moved %s after it was renewed, only when it had expired", took)
				} else {
					t.Logf("the Lease moved %s after it was renewed last", took)
				}
			}
			last = lease
		}
	}()
	return func() {
		events.Stop()
		<-done
		if moves == 0 {
			t.Error("the Lease never moved although its first holder was stopped")
		}
	}
}

func holder(lease *coordinationv1.Lease) string {
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// followStream watches a stream, again when the watch ends, as informers do. The returned function fails the
// test if a watch ended with another error than that a new replica does not remember so far back, or if the
// last state was not seen.
func followStream(t *testing.T, s *imageapi.Server, namespace string) (check func()) {
	t.Helper()
	var seen atomic.Pointer[string]
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	streams := s.Images.ImageV1().ImageStreams(namespace)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			list, err := streams.List(ctx, metav1.ListOptions{})
			if err != nil {
				continue
			}
			version := list.ResourceVersion
			for _, stream := range list.Items {
				seen.Store(&stream.ResourceVersion)
			}
			for version != "" && ctx.Err() == nil {
				events, err := streams.Watch(ctx, metav1.ListOptions{ResourceVersion: version})
				if err != nil {
					break
				}
				for event := range events.ResultChan() {
					switch object := event.Object.(type) {
					case *imagev1.ImageStream:
						version = object.ResourceVersion
						seen.Store(&object.ResourceVersion)
					case *metav1.Status:
						if object.Code != http.StatusGone && ctx.Err() == nil {
							t.Errorf("the watch ended with %+v", object)
						}
						version = ""
					}
				}
				events.Stop()
			}
		}
	}()
	return func() {
		imageapi.Eventually(t, "the watch has seen the last write", func(ctx context.Context) error {
			current, err := streams.Get(ctx, "app", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if version := seen.Load(); version == nil || *version != current.ResourceVersion {
				return fmt.Errorf("seen %v, current %s", version, current.ResourceVersion)
			}
			return nil
		})
		cancel()
		<-done
	}
}
