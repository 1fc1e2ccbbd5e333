// What differs from release to release. build.sh puts another file in this one's place for an older release (1.34/release.go).
//
// Lives here: the gates of the emulated clusters, and names that Kubernetes moved or changed. Never here: behaviour of ours.
package main

import (
	"context"
	"net/url"

	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/kubernetes/pkg/kubelet"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
)

// emulations lists where WebSockets end, by the version of the cluster. The first one is the release as it is.
var emulations = []emulation{
	{name: "kubelet-translates"},
	{
		name: "apiserver-translates",
		node: map[string]bool{"ExtendWebSocketsToKubelet": false},
	},
	{
		name: "none",
		apiserver: map[string]bool{
			"TranslateStreamCloseWebsocketRequests":        false,
			"PortForwardWebsockets":                        false,
			"AuthorizePodWebsocketUpgradeCreatePermission": false,
		},
		node: map[string]bool{"ExtendWebSocketsToKubelet": false},
	},
}

type (
	streamingServer = streaming.Server
	terminalSize    = remotecommand.TerminalSize
)

func newStreamingServer(address string, runtime streaming.Runtime) (streamingServer, error) {
	config := streaming.DefaultConfig
	config.Addr = address
	config.BaseURL = &url.URL{Scheme: "http", Host: address}
	return streaming.NewServer(config, runtime)
}

func connectRuntime(ctx context.Context, c *kubeletconfig.KubeletConfiguration, d *kubelet.Dependencies) error {
	return kubelet.PreInitRuntimeService(ctx, c, d)
}
