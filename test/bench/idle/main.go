// Command idle measures what the product costs while nobody uses it.
//
// It asks the kubelet of every node twice, a minute apart by default, and prints per Pod of the product
// the anonymous resident memory at the end and the processor time used in between, and the sums beside
// the budget of the design: operator, API server and two registries together below 150 MiB and 50
// millicores.
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"sort"
	"strconv"
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
	rssBytes   float64
	cpuSeconds float64
	at         time.Time
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
			SubResource("proxy").Suffix("metrics/cadvisor").DoRaw(ctx)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", node.Name, err)
		}
		if err := collect(raw, pods); err != nil {
			return nil, fmt.Errorf("node %s: %w", node.Name, err)
		}
	}
	return pods, nil
}

// sample is one line of cadvisor: a metric of a container of the product, its value and the time in ms.
var sample = regexp.MustCompile(`^container_(cpu_usage_seconds_total|memory_rss)\{container="[^"]+",.*namespace="` + namespace + `",pod="([^"]+)"\} (\S+) (\d+)$`)

// collect adds the Pods of one node. It reads cadvisor and not the kubelet's summary, which needs to know
// the file system of the node.
func collect(raw []byte, pods map[string]usage) error {
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		match := sample.FindStringSubmatch(lines.Text())
		if match == nil {
			continue
		}
		value, err := strconv.ParseFloat(match[3], 64)
		if err != nil {
			return err
		}
		at, err := strconv.ParseInt(match[4], 10, 64)
		if err != nil {
			return err
		}
		u := pods[match[2]]
		if match[1] == "memory_rss" {
			u.rssBytes += value
		} else {
			u.cpuSeconds += value
			u.at = time.UnixMilli(at)
		}
		pods[match[2]] = u
	}
	return lines.Err()
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
		mib := after[name].rssBytes / (1 << 20)
		millicores := (after[name].cpuSeconds - first.cpuSeconds) / after[name].at.Sub(first.at).Seconds() * 1000
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\n", name, mib, millicores)
		if !strings.HasPrefix(name, "node-ca") && !strings.HasPrefix(name, "image-pruner") {
			totalMiB, totalMillicores = totalMiB+mib, totalMillicores+millicores
		}
	}
	fmt.Fprintf(table, "operator + API servers + registries\t%.1f\t%.1f\n", totalMiB, totalMillicores)
	fmt.Fprintln(table, "budget (operator, API server, two registries)\t150\t50")
	return table.Flush()
}
