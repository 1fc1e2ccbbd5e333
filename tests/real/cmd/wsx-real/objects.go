// What is in the cluster when it is ready.
//
// Lives here: pods, their owners, services, and the wait until everything runs. deploy/web and rs/web are seen by no controller:
// they own nothing, and find their pod by selector. deploy/roll is a real one.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
)

const (
	podNamespace = "default"
	serverPort   = 8080
	rollReplicas = 2
	// ours labels the fixture's own pods; what tests create beside them may be in any state.
	ours = "wsx.test/fixture"
)

// pods returns all pods; every one runs, but done-0 (completed) and crash-0 (fails every few seconds). The program is wsx-pod.
func pods(program string) []*core.Pod {
	sleep := []string{"sleep", "infinity"}
	stdin := pod("stdin-0", "stdin", mainRuns("cat"))
	stdin.Spec.Containers[0].Stdin = true
	tty := pod("tty-0", "tty", mainRuns("sh"))
	tty.Spec.Containers[0].Stdin, tty.Spec.Containers[0].TTY = true, true
	done := pod("done-0", "done", mainRuns("sh", "-c", "echo done"))
	done.Spec.RestartPolicy = core.RestartPolicyNever
	list := []*core.Pod{
		pod("web-0", "web", runs("app", sleep...), runs("sidecar", sleep...)),
		stdin,
		tty,
		done,
		pod("crash-0", "crash", mainRuns("sh", "-c", "echo started; sleep 2; echo failed >&2; exit 3")),
		pod("log-0", "log", mainRuns(program, "log", "100ms")),
	}
	for _, name := range []string{"server-0", "server-1"} {
		list = append(list, pod(name, "server", server(program)))
	}
	return list
}

// server answers HTTP on the port which is named http.
func server(program string) core.Container {
	server := mainRuns(program, "server", fmt.Sprint(serverPort))
	server.Ports = []core.ContainerPort{{Name: "http", ContainerPort: serverPort}}
	return server
}

// mainRuns is a container named main.
func mainRuns(command ...string) core.Container { return runs("main", command...) }

func runs(name string, command ...string) core.Container {
	fromField := func(name, path string) core.EnvVar {
		return core.EnvVar{Name: name, ValueFrom: &core.EnvVarSource{FieldRef: &core.ObjectFieldSelector{FieldPath: path}}}
	}
	return core.Container{
		Name:    name,
		Image:   "wsx/" + name + ":1",
		Command: command,
		Env: []core.EnvVar{
			fromField("POD_NAME", "metadata.name"),
			fromField("POD_NAMESPACE", "metadata.namespace"),
			fromField("POD_IP", "status.podIP"),
			{Name: "CONTAINER_NAME", Value: name},
		},
	}
}

func pod(name, app string, containers ...core.Container) *core.Pod {
	grace := int64(1)
	return &core.Pod{
		ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{"app": app, ours: "true"}},
		Spec:       core.PodSpec{NodeName: nodeName, Containers: containers, TerminationGracePeriodSeconds: &grace},
	}
}

func service(name string, selector map[string]string) *core.Service {
	return &core.Service{
		ObjectMeta: meta.ObjectMeta{Name: name},
		Spec: core.ServiceSpec{
			Selector: selector,
			Ports:    []core.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
		},
	}
}

// createObjects creates everything at once; the order does not matter to anyone.
func createObjects(ctx context.Context, client kubernetes.Interface) error {
	if err := createRoles(ctx, client); err != nil {
		return err
	}
	program, err := podProgram()
	if err != nil {
		return err
	}
	for _, p := range pods(program) {
		if _, err := client.CoreV1().Pods(podNamespace).Create(ctx, p, meta.CreateOptions{}); err != nil {
			return err
		}
	}
	for _, s := range []*core.Service{
		service("web", map[string]string{"app": "server"}),
		service("roll", map[string]string{"app": "roll"}),
		service("noselector", nil),
	} {
		if _, err := client.CoreV1().Services(podNamespace).Create(ctx, s, meta.CreateOptions{}); err != nil {
			return err
		}
	}
	if err := createRoll(ctx, client, program); err != nil {
		return err
	}
	return createOwners(ctx, client, "web")
}

// createRoll creates a Deployment of two servers, which its controllers keep at two.
func createRoll(ctx context.Context, client kubernetes.Interface, program string) error {
	p := pod("", "roll", server(program))
	// The binder's part.
	p.Spec.NodeName = ""
	replicas := int32(rollReplicas)
	deployment := &apps.Deployment{
		ObjectMeta: meta.ObjectMeta{Name: "roll"},
		Spec: apps.DeploymentSpec{
			Replicas: &replicas,
			Selector: &meta.LabelSelector{MatchLabels: map[string]string{"app": "roll"}},
			Template: core.PodTemplateSpec{ObjectMeta: meta.ObjectMeta{Labels: p.Labels}, Spec: p.Spec},
		},
	}
	_, err := client.AppsV1().Deployments(podNamespace).Create(ctx, deployment, meta.CreateOptions{})
	return err
}

// createOwners creates a Deployment and a ReplicaSet which select the pods of an app and own none of them.
func createOwners(ctx context.Context, client kubernetes.Interface, app string) error {
	labels := map[string]string{"app": app}
	replicas := int32(1)
	named := meta.ObjectMeta{Name: app, Labels: map[string]string{"app": app, unmanaged: "true"}}
	selector := &meta.LabelSelector{MatchLabels: labels}
	template := core.PodTemplateSpec{
		ObjectMeta: meta.ObjectMeta{Labels: labels},
		Spec:       core.PodSpec{Containers: []core.Container{{Name: "app", Image: "wsx/app:1"}}},
	}
	deployment := &apps.Deployment{
		ObjectMeta: named,
		Spec:       apps.DeploymentSpec{Replicas: &replicas, Selector: selector, Template: template},
	}
	if _, err := client.AppsV1().Deployments(podNamespace).Create(ctx, deployment, meta.CreateOptions{}); err != nil {
		return err
	}
	set := &apps.ReplicaSet{
		ObjectMeta: named,
		Spec:       apps.ReplicaSetSpec{Replicas: &replicas, Selector: selector, Template: template},
	}
	_, err := client.AppsV1().ReplicaSets(podNamespace).Create(ctx, set, meta.CreateOptions{})
	return err
}

// podProgram finds wsx-pod, which build.sh puts beside this program.
func podProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	program := filepath.Join(filepath.Dir(self), "wsx-pod")
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("wsx-pod is not beside %s: build with build.sh", self)
	}
	return program, nil
}

// waitForPods returns when every pod is what it should be and the service has its addresses.
func (f *fixture) waitForPods(ctx context.Context, client kubernetes.Interface) error {
	for {
		missing, err := f.unready(ctx, client)
		if err == nil && missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready in time: %s %v", missing, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// unready names something which is not ready yet.
func (f *fixture) unready(ctx context.Context, client kubernetes.Interface) (string, error) {
	list, err := client.CoreV1().Pods(podNamespace).List(ctx, meta.ListOptions{LabelSelector: ours})
	if err != nil {
		return "", err
	}
	for i := range list.Items {
		if p := &list.Items[i]; !f.isReady(p) {
			return "pod " + p.Name, nil
		}
	}
	endpoints, err := client.CoreV1().Endpoints(podNamespace).Get(ctx, "web", meta.GetOptions{})
	if err != nil {
		return "service web", err
	}
	if len(endpoints.Subsets) != 1 || len(endpoints.Subsets[0].Addresses) != 2 {
		return "service web", nil
	}
	selector := meta.ListOptions{LabelSelector: discovery.LabelServiceName + "=roll"}
	slices, err := client.DiscoveryV1().EndpointSlices(podNamespace).List(ctx, selector)
	if err != nil {
		return "service roll", err
	}
	ready := 0
	for _, s := range slices.Items {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				ready++
			}
		}
	}
	if ready != rollReplicas {
		return "service roll", nil
	}
	return "", nil
}

// isReady compares the API with what runs: right after a restart of the node, the API still says what was before.
func (f *fixture) isReady(p *core.Pod) bool {
	switch p.Name {
	case "done-0":
		return p.Status.Phase == core.PodSucceeded
	case "crash-0":
		return p.Status.Phase == core.PodRunning
	}
	if len(p.Status.ContainerStatuses) != len(p.Spec.Containers) {
		return false
	}
	for _, c := range p.Status.ContainerStatuses {
		_, id, err := f.running(p.Namespace, p.Name, c.Name)
		if err != nil || !c.Ready || c.ContainerID != runtimeName+"://"+id {
			return false
		}
	}
	return true
}
