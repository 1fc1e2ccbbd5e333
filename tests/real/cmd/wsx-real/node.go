// The kubelet: the real one, on a runtime of ours.
//
// Lives here: the kubelet's configuration without root, cgroups and mounts, and the Node object.
package main

import (
	"context"
	"strconv"
	"syscall"
	"time"

	noop "go.opentelemetry.io/otel/trace/noop"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	cadvisortest "k8s.io/kubernetes/pkg/kubelet/cadvisor/testing"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	kubeletutil "k8s.io/kubernetes/pkg/kubelet/util"
	"k8s.io/kubernetes/pkg/util/oom"
	"k8s.io/kubernetes/pkg/volume"
	"k8s.io/kubernetes/pkg/volume/configmap"
	"k8s.io/kubernetes/pkg/volume/downwardapi"
	"k8s.io/kubernetes/pkg/volume/emptydir"
	"k8s.io/kubernetes/pkg/volume/projected"
	"k8s.io/kubernetes/pkg/volume/secret"
	"k8s.io/kubernetes/pkg/volume/util/hostutil"
	"k8s.io/kubernetes/pkg/volume/util/subpath"
	"k8s.io/mount-utils"
)

// runKubelet returns only with an error. The runtime serves already.
func runKubelet(f *fixture) error {
	syscall.Umask(0o022)
	emulation, err := findEmulation(f.Gates)
	if err != nil {
		return err
	}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(emulation.node); err != nil {
		return err
	}
	ctx := context.Background()
	client, err := f.client("node-client")
	if err != nil {
		return err
	}
	if err := f.createNode(ctx, client); err != nil {
		return err
	}
	server, err := f.kubeletOptions()
	if err != nil {
		return err
	}
	dependencies, err := f.kubeletDependencies(ctx, client, server)
	if err != nil {
		return err
	}
	if err := app.RunKubelet(ctx, server, dependencies); err != nil {
		return err
	}
	select {}
}

// createNode registers the node with its address: the kubelet would refuse a loopback address, but keeps one it finds.
func (f *fixture) createNode(ctx context.Context, client kubernetes.Interface) error {
	node := &core.Node{
		ObjectMeta: meta.ObjectMeta{Name: nodeName, Labels: map[string]string{core.LabelHostname: nodeName}},
		Status: core.NodeStatus{Addresses: []core.NodeAddress{
			{Type: core.NodeInternalIP, Address: f.nodeAddress()},
			{Type: core.NodeHostName, Address: nodeName},
		}},
	}
	for {
		_, err := client.CoreV1().Nodes().Create(ctx, node, meta.CreateOptions{})
		if err == nil || apierrors.IsAlreadyExists(err) {
			return nil
		}
		// The API server starts beside us.
		time.Sleep(50 * time.Millisecond)
	}
}

func (f *fixture) kubeletOptions() (*options.KubeletServer, error) {
	flags := options.NewKubeletFlags()
	flags.RootDirectory = f.path("kubelet")
	flags.CertDirectory = f.path("kubelet")
	flags.HostnameOverride = nodeName
	flags.CloudProvider = "external"

	c, err := options.NewKubeletConfiguration()
	if err != nil {
		return nil, err
	}
	c.Address = f.host()
	c.Port = int32(f.kubeletPort())
	c.ReadOnlyPort, c.HealthzPort = 0, 0
	c.TLSCertFile, c.TLSPrivateKeyFile = f.path("kubelet.crt"), f.path("kubelet.key")
	c.Authentication.Anonymous.Enabled = false
	c.Authentication.Webhook.Enabled = true
	c.Authentication.X509.ClientCAFile = f.path("ca.crt")
	c.Authorization.Mode = kubeletconfig.KubeletAuthorizationModeWebhook
	c.ContainerRuntimeEndpoint = "unix://" + f.runtimeSocket()
	c.PodLogsDir = f.path("pods")
	c.StaticPodPath = ""
	c.ResolverConfig = ""
	c.CgroupsPerQOS = false
	c.EnforceNodeAllocatable = nil
	c.EnableControllerAttachDetach = false
	c.EvictionHard = map[string]string{}
	c.FailSwapOn = false
	c.ImageGCHighThresholdPercent = 100
	c.LocalStorageCapacityIsolation = false
	c.MakeIPTablesUtilChains = false
	// A crashing or killed container comes back soon, however often.
	c.CrashLoopBackOff.MaxContainerRestartPeriod = &meta.Duration{Duration: time.Second}
	if f.LogSize > 0 {
		// The kubelet's own lowest interval is 3 s, which only its command line asks for.
		c.ContainerLogMaxSize = strconv.Itoa(f.LogSize)
		c.ContainerLogMonitorInterval = meta.Duration{Duration: 100 * time.Millisecond}
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, err
	}
	c.MaxOpenFiles = int64(limit.Max)
	return &options.KubeletServer{KubeletFlags: *flags, KubeletConfiguration: *c}, nil
}

func (f *fixture) kubeletDependencies(ctx context.Context, client *kubernetes.Clientset, s *options.KubeletServer) (*kubelet.Dependencies, error) {
	tlsOptions, err := app.InitializeTLS(ctx, &s.KubeletFlags, &s.KubeletConfiguration)
	if err != nil {
		return nil, err
	}
	auth, watchAuthority, err := app.BuildAuth(types.NodeName(nodeName), client, s.KubeletConfiguration)
	if err != nil {
		return nil, err
	}
	watchAuthority(ctx.Done())
	kubelet.ContainerLogsDir = f.path("container-logs")
	d := &kubelet.Dependencies{
		Auth:                      auth,
		CAdvisorInterface:         &cadvisortest.Fake{NodeName: nodeName},
		ContainerManager:          cm.NewStubContainerManager(),
		HeartbeatClient:           client,
		HostUtil:                  hostutil.NewFakeHostUtil(nil),
		KubeClient:                client,
		Mounter:                   &mount.FakeMounter{},
		NodeStartupLatencyTracker: kubeletutil.NewNodeStartupLatencyTracker(),
		OOMAdjuster:               oom.NewFakeOOMAdjuster(),
		OSInterface:               relocatedOS{prefix: kubelet.DefaultContainerLogsDir, to: f.path("container-logs")},
		PodStartupLatencyTracker:  kubeletutil.NewPodStartupLatencyTracker(),
		// Any other recorder makes the kubelet open /dev/kmsg.
		Recorder:       &record.FakeRecorder{},
		Subpather:      &subpath.FakeSubpath{},
		TLSOptions:     tlsOptions,
		TracerProvider: noop.NewTracerProvider(),
		VolumePlugins:  volumePlugins(),
	}
	return d, connectRuntime(ctx, &s.KubeletConfiguration, d)
}

func volumePlugins() []volume.VolumePlugin {
	var plugins []volume.VolumePlugin
	plugins = append(plugins, configmap.ProbeVolumePlugins()...)
	plugins = append(plugins, downwardapi.ProbeVolumePlugins()...)
	plugins = append(plugins, emptydir.ProbeVolumePlugins()...)
	plugins = append(plugins, projected.ProbeVolumePlugins()...)
	return append(plugins, secret.ProbeVolumePlugins()...)
}
