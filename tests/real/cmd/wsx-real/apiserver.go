// The API server: the real one, with the pod network as its only change.
//
// Lives here: its flags, and the two dialers (to pods, and to the kubelet, whose connections can be cut).
package main

import (
	"context"
	"fmt"
	"net"
	"sort"
	"strings"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/server/egressselector"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// runAPIServer returns only with an error.
func runAPIServer(f *fixture) error {
	if err := f.startEtcd(); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	ctx := context.Background()
	completed, err := f.apiServerOptions(ctx)
	if err != nil {
		return err
	}
	config, err := app.NewConfig(completed)
	if err != nil {
		return err
	}
	f.setDialers(config)
	completedConfig, err := config.Complete()
	if err != nil {
		return err
	}
	server, err := app.CreateServerChain(completedConfig)
	if err != nil {
		return err
	}
	server.GenericAPIServer.AddPostStartHookOrDie("wsx-real-controllers", startControllers)
	prepared, err := server.PrepareRun()
	if err != nil {
		return err
	}
	return prepared.Run(ctx)
}

func (f *fixture) apiServerOptions(ctx context.Context) (options.CompletedOptions, error) {
	s := options.NewServerRunOptions()
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, set := range s.Flags().FlagSets {
		flags.AddFlagSet(set)
	}
	arguments, err := f.apiServerFlags()
	if err != nil {
		return options.CompletedOptions{}, err
	}
	if err := flags.Parse(arguments); err != nil {
		return options.CompletedOptions{}, err
	}
	// Without this the feature gates have no effect.
	if err := s.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return options.CompletedOptions{}, err
	}
	completed, err := s.Complete(ctx)
	if err != nil {
		return completed, err
	}
	return completed, utilerrors.NewAggregate(completed.Validate())
}

func (f *fixture) apiServerFlags() ([]string, error) {
	emulation, err := findEmulation(f.Gates)
	if err != nil {
		return nil, err
	}
	return []string{
		"--advertise-address=127.0.0.1",
		"--allow-privileged",
		"--authorization-mode=Node,RBAC",
		"--bind-address=" + f.host(),
		"--client-ca-file=" + f.path("ca.crt"),
		// No controller makes default service accounts or removes the not-ready taint.
		"--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
		// The endpoint of the service `kubernetes` would be a loopback address, which is invalid.
		"--endpoint-reconciler-type=none",
		"--etcd-servers=unix://" + f.etcdSocket(),
		"--feature-gates=" + formatGates(emulation.apiserver),
		"--kubelet-certificate-authority=" + f.path("ca.crt"),
		"--kubelet-client-certificate=" + f.path("apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + f.path("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		fmt.Sprintf("--secure-port=%d", f.Port),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + f.path("sa.key"),
		"--service-account-signing-key-file=" + f.path("sa.key"),
		"--service-cluster-ip-range=10.0.0.0/16",
		"--tls-cert-file=" + f.path("apiserver.crt"),
		"--tls-private-key-file=" + f.path("apiserver.key"),
		"--token-auth-file=" + f.path("tokens.csv"),
	}, nil
}

func formatGates(gates map[string]bool) string {
	var list []string
	for name, value := range gates {
		list = append(list, fmt.Sprintf("%s=%t", name, value))
	}
	sort.Strings(list)
	return strings.Join(list, ",")
}

// setDialers leads the API server to pods and to the kubelet.
func (f *fixture) setDialers(config *app.Config) {
	transport := config.KubeAPIs.ControlPlane.ProxyTransport.Clone()
	transport.DialContext = f.dial
	config.KubeAPIs.ControlPlane.ProxyTransport = transport

	kubelet := newSeverable()
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := f.dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return kubelet.add(conn), nil
	}
	config.KubeAPIs.Extra.KubeletClientConfig.Lookup = func(egressselector.NetworkContext) (utilnet.DialFunc, error) {
		return dial, nil
	}
}
