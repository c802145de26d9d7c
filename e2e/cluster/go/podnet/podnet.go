// Package podnet is the pod network of the local cluster: one goroutine a
// node that writes the CNI configuration for the node's pod range and keeps a
// route to the pod range of every other node. All nodes share one bridge, so
// plain routes are enough; there is no tunnel and no NetworkPolicy.
package podnet

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	confFile = "10-podnet.conflist"
	// resyncEvery repairs what somebody else changed behind our back, such as
	// routes lost when a node was taken off its network and put back.
	resyncEvery = 15 * time.Second
	chain       = "PODNET-MASQ"
)

// options come from flags, and from the downward API by way of the manifest.
type options struct {
	node, podSubnet, serviceSubnet, confDir, server string
}

// NewCommand returns the program; it runs until it is killed.
func NewCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:          "podnet",
		Short:        "routes between the pod ranges of nodes on one network",
		SilenceUsage: true,
		RunE:         func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&o.node, "node", os.Getenv("NODE_NAME"), "name of this node")
	cmd.Flags().StringVar(&o.podSubnet, "pod-subnet", os.Getenv("POD_SUBNET"), "range of all pods of the cluster")
	cmd.Flags().StringVar(&o.serviceSubnet, "service-subnet", os.Getenv("SERVICE_SUBNET"), "range of all services")
	cmd.Flags().StringVar(&o.confDir, "conf-dir", "/etc/cni/net.d", "where the CNI configuration goes")
	cmd.Flags().StringVar(&o.server, "server", os.Getenv("CONTROL_PLANE_ENDPOINT"),
		"API server as host:port; the cluster's service address if empty")
	return cmd
}

func (o *options) run(ctx context.Context) error {
	if ctx == nil {
		ctx = context.Background()
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	if o.server != "" {
		// Not the service address: kube-proxy may come up after us.
		config.Host = "https://" + o.server
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	lister := factory.Core().V1().Nodes().Lister()
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	if _, err := factory.Core().V1().Nodes().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notify() },
		UpdateFunc: func(any, any) { notify() },
		DeleteFunc: func(any) { notify() },
	}); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	ticker := time.NewTicker(resyncEvery)
	defer ticker.Stop()
	for {
		nodes, err := lister.List(labels.Everything())
		if err == nil {
			err = o.sync(nodes)
		}
		if err != nil {
			klog.ErrorS(err, "sync")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-ticker.C:
		}
	}
}

func (o *options) sync(nodes []*corev1.Node) error {
	for _, n := range nodes {
		if n.Spec.PodCIDR == "" {
			continue
		}
		var err error
		if n.Name == o.node {
			err = o.writeConf(n.Spec.PodCIDR)
		} else {
			err = route(n)
		}
		if err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	if err := o.contain(); err != nil {
		return err
	}
	return o.masquerade()
}

// contain keeps what is addressed to a pod or a service that nothing here
// knows from leaving by the default route: other networks use these ranges.
func (o *options) contain() error {
	_, pods, err := net.ParseCIDR(o.podSubnet)
	if err != nil {
		return err
	}
	if err := netlink.RouteReplace(&netlink.Route{Dst: pods, Type: unix.RTN_UNREACHABLE}); err != nil {
		return err
	}
	// After kube-proxy's translation only untranslated packets match.
	return ensureRule("mangle", "POSTROUTING", "-d", o.serviceSubnet, "-o", "eth0", "-j", "DROP")
}

// route replaces the route to the pods of another node.
func route(n *corev1.Node) error {
	gw := internalIP(n)
	_, dst, err := net.ParseCIDR(n.Spec.PodCIDR)
	if err != nil || gw == nil {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: gw})
}

func internalIP(n *corev1.Node) net.IP {
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			if ip := net.ParseIP(a.Address).To4(); ip != nil {
				return ip
			}
		}
	}
	return nil
}

const confTemplate = `{
  "cniVersion": "0.3.1",
  "name": "podnet",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni-ipam-state",
        "routes": [{"dst": "0.0.0.0/0"}],
        "ranges": [[{"subnet": %q}]]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

// writeConf is what makes the kubelet report the node as Ready.
func (o *options) writeConf(podCIDR string) error {
	path := filepath.Join(o.confDir, confFile)
	want := fmt.Appendf(nil, confTemplate, podCIDR)
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, want) {
		return nil
	}
	temp := path + ".new"
	if err := os.WriteFile(temp, want, 0o644); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// masquerade hides pods behind their node for whatever is not a pod, and
// leaves pod-to-pod traffic its own addresses.
func (o *options) masquerade() error {
	_ = iptables("nat", "-N", chain) // it may exist
	for _, rule := range [][]string{
		{"!", "-s", o.podSubnet, "-j", "RETURN"},
		{"-d", o.podSubnet, "-j", "RETURN"},
		{"-j", "MASQUERADE"},
	} {
		if err := ensureRule("nat", chain, rule...); err != nil {
			return err
		}
	}
	return ensureRule("nat", "POSTROUTING", "-m", "addrtype", "!", "--dst-type", "LOCAL", "-j", chain)
}

// ensureRule appends a rule to a chain that lacks it.
func ensureRule(table, chain string, rule ...string) error {
	if err := iptables(table, append([]string{"-C", chain}, rule...)...); err == nil {
		return nil
	}
	return iptables(table, append([]string{"-A", chain}, rule...)...)
}

func iptables(table string, args ...string) error {
	out, err := exec.Command("iptables", append([]string{"-w", "5", "-t", table}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("iptables %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
