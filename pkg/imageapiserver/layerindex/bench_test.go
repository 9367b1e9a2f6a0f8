package layerindex

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// What an Image of 12 layers takes in the index, in memory and in time, when half of its layers are its own.
func BenchmarkPerImage(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	const images = 10000
	for b.Loop() {
		before := heap()
		records := make(map[string]shared, images)
		var building time.Duration
		for n := range images {
			image := &imageapi.Image{}
			image.Name, image.UID = fmt.Sprintf("sha256:%064d", n), types.UID(fmt.Sprint(n))
			for i := range 12 {
				layer := n*12 + i
				if i < 6 {
					layer = -i
				}
				image.DockerImageLayers = append(image.DockerImageLayers, imageapi.ImageLayer{
					Name: fmt.Sprintf("sha256:%064d", layer), LayerSize: 1, MediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
				})
			}
			begin := time.Now()
			reduced := reduce(image)
			records[reduced.record.Name] = reduced
			building += time.Since(begin)
			if n%1000 == 0 {
				runtime.GC() // A long list sees many collections.
			}
		}
		b.ReportMetric(float64(heap()-before)/images, "B/image")
		b.ReportMetric(float64(building.Nanoseconds())/images, "ns/image")
		runtime.KeepAlive(records)
	}
}
