// What differs from release to release: 1.34, in the place of cmd/wsx-real/release.go.
package main

import (
	"context"
	"net/url"

	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/kubelet/pkg/cri/streaming"
	"k8s.io/kubernetes/pkg/kubelet"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
)

// node turns on what is alpha here: without it a killed container waits for ten seconds and more.
var node = map[string]bool{"KubeletCrashLoopBackOffMax": true}

// emulations lists where WebSockets end, by the version of the cluster. The first one is the release as it is; the kubelet
// translates nothing yet.
var emulations = []emulation{
	{name: "apiserver-translates", node: node},
	{
		name:      "none",
		apiserver: map[string]bool{"TranslateStreamCloseWebsocketRequests": false, "PortForwardWebsockets": false},
		node:      node,
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

func connectRuntime(_ context.Context, c *kubeletconfig.KubeletConfiguration, d *kubelet.Dependencies) error {
	return kubelet.PreInitRuntimeService(c, d)
}
