package server

import (
	"context"
	"sync/atomic"

	"image.alauda.io/registry/pkg/imageapiserver/admission/limitrange"
	"image.alauda.io/registry/pkg/imageapiserver/controllers"
	"image.alauda.io/registry/pkg/imageapiserver/controllers/quotastatus"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/layers"
	"image.alauda.io/registry/pkg/imageapiserver/limits"
	"image.alauda.io/registry/pkg/imageapiserver/quota"
)

// quotas are the parts that keep namespaces within their limits.
type quotas struct {
	gate  *quota.Gate
	index *quota.Index
}

// newQuotas makes the gate. The informers run with the server, and the index is fed when there are streams.
func (c *Config) newQuotas() *quotas {
	core := c.generic.SharedInformerFactory.Core().V1()
	index := quota.NewIndex()
	return &quotas{index: index, gate: quota.NewGate(quota.Options{
		Index:       index,
		Quotas:      core.ResourceQuotas(),
		LimitRanges: limits.NewRanges(core.LimitRanges()),
		Client:      c.client.CoreV1(),
		Events:      c.events,
	})}
}

// quotaStatus builds the controller that counts namespaces.
func quotaStatus(b *background) (controllers.Controller, error) {
	return quotastatus.New(quotastatus.Options{
		Index:   b.quotas.index,
		Pending: b.quotas.gate.Pending,
		OnDoubt: b.quotas.gate.OnDoubt,
		Quotas:  b.config.generic.SharedInformerFactory.Core().V1().ResourceQuotas(),
		Client:  b.config.client.CoreV1(),
	})
}

// lateIndex is the layer index for admission, which is set up before there are stores.
type lateIndex struct{ index atomic.Pointer[layers.Index] }

var _ layers.Index = &lateIndex{}

func (l *lateIndex) set(index layers.Index) { l.index.Store(&index) }

// Records implements layers.Index.
func (l *lateIndex) Records(ctx context.Context, digests []string) (map[string]*layers.Record, error) {
	index := l.index.Load()
	if index == nil {
		return nil, layers.ErrNotSynced
	}
	return (*index).Records(ctx, digests)
}

// imageLimitRange hands admission what it needs to know the size of images.
func (c *Config) imageLimitRange() limitrange.Initializer {
	c.sizes = &lateIndex{}
	return limitrange.Initializer{Index: c.sizes}
}
