// The two controllers which a cluster without a controller manager misses most.
//
// Lives here: Endpoints (the service proxy reads them) and namespaces (else a deleted one never goes).
package main

import (
	"time"

	core "k8s.io/api/core/v1"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/endpoint"
	"k8s.io/kubernetes/pkg/controller/namespace"
)

// startControllers is a hook of the API server: earlier, it does not answer yet.
func startControllers(hook genericapiserver.PostStartHookContext) error {
	go func() {
		if err := runControllers(hook); err != nil {
			klog.Fatalf("controllers: %v", err)
		}
	}()
	return nil
}

func runControllers(hook genericapiserver.PostStartHookContext) error {
	config := rest.CopyConfig(hook.LoopbackClientConfig)
	config.QPS, config.Burst = 100, 200
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	shared := factory.Core().V1()
	endpoints := endpoint.NewEndpointController(hook, shared.Pods(), shared.Services(), shared.Endpoints(), client, 0)
	namespaces := namespace.NewNamespaceController(hook, client, metadataClient,
		client.Discovery().ServerPreferredNamespacedResources, shared.Namespaces(), 5*time.Minute, core.FinalizerKubernetes)
	factory.Start(hook.Done())
	go endpoints.Run(hook, 1)
	go namespaces.Run(hook, 1)
	return nil
}
