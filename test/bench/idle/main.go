// Command idle measures what the product costs while nobody uses it.
//
// It asks the kubelet of every node twice for its summary, a minute apart by default, and prints per
// Pod of the product the resident memory at the end and the processor time used in between, and the
// sums against the budget of the design: operator, API server and two registries together below
// 150 MiB and 50 millicores.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const namespace = "image-registry-system"

// usage is one reading of one Pod.
type usage struct {
	rssBytes       uint64
	cpuNanoseconds uint64
	at             time.Time
}

func main() {
	interval := flag.Duration("interval", time.Minute, "time between the two readings")
	kubeconfig := flag.String("kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig of the cluster")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := measure(ctx, *kubeconfig, *interval); err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, kubeconfig string, interval time.Duration) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	before, err := read(ctx, client)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(interval):
	}
	after, err := read(ctx, client)
	if err != nil {
		return err
	}
	return report(before, after)
}

// read returns the usage of every Pod of the product, by name.
func read(ctx context.Context, client kubernetes.Interface) (map[string]usage, error) {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	pods := map[string]usage{}
	for _, node := range nodes.Items {
		raw, err := client.CoreV1().RESTClient().Get().Resource("nodes").Name(node.Name).
			SubResource("proxy").Suffix("stats/summary").DoRaw(ctx)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", node.Name, err)
		}
		if err := collect(raw, pods); err != nil {
			return nil, fmt.Errorf("node %s: %w", node.Name, err)
		}
	}
	return pods, nil
}

// collect adds the Pods of one node's summary (kubelet stats/v1alpha1).
func collect(raw []byte, pods map[string]usage) error {
	var summary struct {
		Pods []struct {
			PodRef     struct{ Name, Namespace string }
			Containers []struct {
				CPU struct {
					Time                 time.Time
					UsageCoreNanoSeconds uint64
				}
				Memory struct{ RSSBytes uint64 }
			}
		}
	}
	if err := json.Unmarshal(raw, &summary); err != nil {
		return err
	}
	for _, pod := range summary.Pods {
		if pod.PodRef.Namespace != namespace {
			continue
		}
		var u usage
		for _, c := range pod.Containers {
			u.rssBytes += c.Memory.RSSBytes
			u.cpuNanoseconds += c.CPU.UsageCoreNanoSeconds
			u.at = c.CPU.Time
		}
		pods[pod.PodRef.Name] = u
	}
	return nil
}

func report(before, after map[string]usage) error {
	names := make([]string, 0, len(after))
	for name := range after {
		names = append(names, name)
	}
	sort.Strings(names)
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "POD\tRSS MiB\tMILLICORES")
	var totalMiB, totalMillicores float64
	for _, name := range names {
		first, ok := before[name]
		if !ok || !after[name].at.After(first.at) {
			continue
		}
		mib := float64(after[name].rssBytes) / (1 << 20)
		millicores := float64(after[name].cpuNanoseconds-first.cpuNanoseconds) / float64(after[name].at.Sub(first.at)) * 1000
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\n", name, mib, millicores)
		if !strings.HasPrefix(name, "node-ca") && !strings.HasPrefix(name, "image-pruner") {
			totalMiB, totalMillicores = totalMiB+mib, totalMillicores+millicores
		}
	}
	fmt.Fprintf(table, "operator + API servers + registries\t%.1f\t%.1f\n", totalMiB, totalMillicores)
	fmt.Fprintln(table, "budget (operator, API server, two registries)\t150\t50")
	return table.Flush()
}
