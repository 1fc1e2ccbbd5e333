// The controllers which a cluster without a controller manager misses most.
//
// Lives here: Endpoints and EndpointSlices (the service proxy and port-forward read them), namespaces (else a deleted one never
// goes), Deployments and ReplicaSets (a deleted pod comes back under another name), and a binder instead of the scheduler.
package main

import (
	"context"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/informers"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/deployment"
	"k8s.io/kubernetes/pkg/controller/endpoint"
	"k8s.io/kubernetes/pkg/controller/endpointslice"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/replicaset"
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
	slices := factory.Discovery().V1().EndpointSlices()
	managed := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(onlyManaged))
	owners := managed.Apps().V1()
	endpoints := endpoint.NewEndpointController(hook, shared.Pods(), shared.Services(), shared.Endpoints(), client, 0)
	endpointSlices := endpointslice.NewController(hook, shared.Pods(), shared.Services(), shared.Nodes(), slices, 100, client, 0)
	namespaces := namespace.NewNamespaceController(hook, client, metadataClient,
		client.Discovery().ServerPreferredNamespacedResources, shared.Namespaces(), 5*time.Minute, core.FinalizerKubernetes)
	sets := replicaset.NewReplicaSetController(hook, owners.ReplicaSets(), shared.Pods(), client, replicaset.BurstReplicas)
	deployments, err := deployment.NewDeploymentController(hook, owners.Deployments(), owners.ReplicaSets(), shared.Pods(), client)
	if err != nil {
		return err
	}
	if err := bindPods(hook, client, shared.Pods()); err != nil {
		return err
	}
	factory.Start(hook.Done())
	managed.Start(hook.Done())
	go endpoints.Run(hook, 1)
	go endpointSlices.Run(hook, 1)
	go namespaces.Run(hook, 1)
	go sets.Run(hook, 1)
	go deployments.Run(hook, 1)
	return nil
}

// unmanaged marks owners which exist, select, and own nothing: no controller sees them, so that their pods keep their names.
const unmanaged = "wsx.test/unmanaged"

func onlyManaged(options *meta.ListOptions) { options.LabelSelector = "!" + unmanaged }

// bindPods is the scheduler of a cluster with one node.
func bindPods(ctx context.Context, client kubernetes.Interface, pods coreinformers.PodInformer) error {
	_, err := pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(object any) {
		pod, isPod := object.(*core.Pod)
		if !isPod || pod.Spec.NodeName != "" || pod.DeletionTimestamp != nil {
			return
		}
		binding := &core.Binding{
			ObjectMeta: meta.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
			Target:     core.ObjectReference{Kind: "Node", Name: nodeName},
		}
		if err := client.CoreV1().Pods(pod.Namespace).Bind(ctx, binding, meta.CreateOptions{}); err != nil {
			klog.Errorf("bind %s: %v", pod.Name, err)
		}
	}})
	return err
}
