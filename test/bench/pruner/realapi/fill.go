package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"

	"image.alauda.io/registry/pkg/imageapiserver/storage/transfer"
	"image.alauda.io/registry/test/bench/pruner/generate"
)

const (
	// parallelWrites of transactions with so many objects each.
	parallelWrites, objectsPerWrite = 8, 64
)

// fillRecords stores images and streams as the import of a backup does.
func (c *realCluster) fillRecords(ctx context.Context) error {
	o := transfer.NewOptions()
	o.Kubeconfig = c.Kubeconfig()
	var store *transfer.Store
	var last error
	// The record kinds are served some moments after they were created.
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		store, last = o.Open(ctx, transfer.CRD)
		return last == nil, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	defer store.Close()
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(writeRecords(writer, c.cluster)) }()
	var failures []string
	summary, err := transfer.Import(ctx, store, reader, false, func(format string, args ...any) {
		failures = append(failures, fmt.Sprintf(format, args...))
	})
	if err == nil && summary.Incomplete() {
		err = fmt.Errorf("%d objects were not stored, the first: %s", len(failures), failures[0])
	}
	return err
}

// writeRecords writes images and streams in the form of an export.
func writeRecords(out io.Writer, cluster *generate.Cluster) error {
	encoder := json.NewEncoder(out)
	for _, resource := range []generate.Resource{generate.Images, generate.ImageStreams} {
		list := cluster.Lists[resource]
		for i := range list.Len() {
			object := list.At(i).DeepCopyObject()
			accessor, err := meta.Accessor(object)
			if err != nil {
				return err
			}
			accessor.SetResourceVersion("")
			if err := encoder.Encode(object); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillWorkloads writes Pods and what owns them into etcd as kube-apiserver would: with the status that the kubelet
// reports and the age that they have, neither of which a client can give to what it creates.
func (c *realCluster) fillWorkloads(ctx context.Context) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{c.EtcdEndpoint}})
	if err != nil {
		return err
	}
	defer client.Close()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelWrites)
	for _, resource := range generate.Resources {
		list := c.cluster.Lists[resource]
		if resource == generate.Images || resource == generate.ImageStreams {
			continue
		}
		for begin := 0; begin < list.Len(); begin += objectsPerWrite {
			group.Go(func() error {
				return store(ctx, client, resource, list, begin, min(begin+objectsPerWrite, list.Len()))
			})
		}
	}
	return group.Wait()
}

// store writes the objects from begin to end.
func store(ctx context.Context, client *clientv3.Client, resource generate.Resource, list generate.Objects, begin, end int) error {
	encoder := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	var writes []clientv3.Op
	for i := begin; i < end; i++ {
		object := list.At(i).DeepCopyObject()
		kinds, _, err := scheme.Scheme.ObjectKinds(object)
		if err != nil {
			return err
		}
		object.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{Group: resource.Group, Version: resource.Version, Kind: kinds[0].Kind})
		accessor, err := meta.Accessor(object)
		if err != nil {
			return err
		}
		accessor.SetResourceVersion("")
		var encoded bytes.Buffer
		if err := encoder.Encode(object, &encoded); err != nil {
			return err
		}
		writes = append(writes, clientv3.OpPut("/registry/"+resource.Name+"/"+accessor.GetNamespace()+"/"+accessor.GetName(), encoded.String()))
	}
	_, err := client.Txn(ctx).Then(writes...).Commit()
	return err
}
