// The container runtime which the kubelet talks to, over gRPC on a unix socket.
//
// Lives here: the CRI calls; what they are about is in container.go. Sandboxes and containers live in memory only: with this
// process goes every container. A kubelet that is started again finds them as it left them.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// runtimeName is how container ids begin in the API.
const runtimeName = "wsx-real"

// criRuntime is the CRI's runtime service.
type criRuntime struct {
	cri.UnimplementedRuntimeServiceServer
	fixture *fixture
	streams streamingServer

	mutex      sync.Mutex
	sandboxes  map[string]*sandbox
	containers map[string]*container
}

func (f *fixture) runtimeSocket() string { return f.path("cri.sock") }

// runRuntime returns only with an error.
func runRuntime(f *fixture) error {
	resetSignals()
	syscall.Umask(0o022)
	if err := startRuntime(f); err != nil {
		return err
	}
	select {}
}

// resetSignals makes containers start with default signal handling, also when the fixture was started in a shell's background,
// which ignores interrupts: a caught signal is reset by exec, an ignored one is inherited.
func resetSignals() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE,
		syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
}

// startRuntime serves the CRI and its streams.
func startRuntime(f *fixture) error {
	os.Remove(f.runtimeSocket())
	// Nothing runs any more of what an earlier process of this node started.
	os.RemoveAll(f.path("pids"))
	for _, directory := range []string{"pids", "pods", "container-logs", "kubelet", "written"} {
		if err := os.MkdirAll(f.path(directory), 0o700); err != nil {
			return err
		}
	}
	r := &criRuntime{fixture: f, sandboxes: map[string]*sandbox{}, containers: map[string]*container{}}
	var err error
	if r.streams, err = startStreaming(f, r); err != nil {
		return err
	}
	listener, err := net.Listen("unix", f.runtimeSocket())
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(server, r)
	cri.RegisterImageServiceServer(server, &imageService{directory: f.Dir})
	go server.Serve(listener)
	return nil
}

func newID() string {
	id := make([]byte, 32)
	rand.Read(id)
	return hex.EncodeToString(id)
}

func notFound(kind, id string) error {
	return status.Errorf(codes.NotFound, "an error occurred when try to find %s %q: not found", kind, id)
}

func (r *criRuntime) container(id string) (*container, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if c, found := r.containers[id]; found {
		return c, nil
	}
	return nil, notFound("container", id)
}

func (r *criRuntime) sandbox(id string) (*sandbox, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if s, found := r.sandboxes[id]; found {
		return s, nil
	}
	return nil, notFound("sandbox", id)
}

func (r *criRuntime) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{Version: "0.1.0", RuntimeName: runtimeName, RuntimeVersion: release, RuntimeApiVersion: "v1"}, nil
}

func (r *criRuntime) Status(context.Context, *cri.StatusRequest) (*cri.StatusResponse, error) {
	conditions := []*cri.RuntimeCondition{
		{Type: cri.RuntimeReady, Status: true},
		{Type: cri.NetworkReady, Status: true},
	}
	return &cri.StatusResponse{Status: &cri.RuntimeStatus{Conditions: conditions}}, nil
}

func (r *criRuntime) UpdateRuntimeConfig(context.Context, *cri.UpdateRuntimeConfigRequest) (*cri.UpdateRuntimeConfigResponse, error) {
	return &cri.UpdateRuntimeConfigResponse{}, nil
}

func (r *criRuntime) RunPodSandbox(_ context.Context, q *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error) {
	s := &sandbox{id: newID(), config: q.Config, created: time.Now().UnixNano()}
	if directory := q.Config.LogDirectory; directory != "" {
		if err := os.MkdirAll(directory, 0o755); err != nil {
			return nil, err
		}
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	used := map[int]bool{}
	for _, other := range r.sandboxes {
		used[other.slot] = true
	}
	for used[s.slot] {
		s.slot++
	}
	r.sandboxes[s.id] = s
	return &cri.RunPodSandboxResponse{PodSandboxId: s.id}, nil
}

func (r *criRuntime) StopPodSandbox(ctx context.Context, q *cri.StopPodSandboxRequest) (*cri.StopPodSandboxResponse, error) {
	for _, c := range r.containersOf(q.PodSandboxId) {
		if err := c.stop(ctx, 0); err != nil {
			return nil, err
		}
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if s, found := r.sandboxes[q.PodSandboxId]; found {
		s.state = cri.PodSandboxState_SANDBOX_NOTREADY
	}
	return &cri.StopPodSandboxResponse{}, nil
}

func (r *criRuntime) RemovePodSandbox(ctx context.Context, q *cri.RemovePodSandboxRequest) (*cri.RemovePodSandboxResponse, error) {
	if _, err := r.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: q.PodSandboxId}); err != nil {
		return nil, err
	}
	containers := r.containersOf(q.PodSandboxId)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, c := range containers {
		delete(r.containers, c.id)
	}
	delete(r.sandboxes, q.PodSandboxId)
	return &cri.RemovePodSandboxResponse{}, nil
}

func (r *criRuntime) containersOf(sandboxID string) []*container {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	var list []*container
	for _, c := range r.containers {
		if c.sandbox.id == sandboxID {
			list = append(list, c)
		}
	}
	return list
}

func (r *criRuntime) PodSandboxStatus(_ context.Context, q *cri.PodSandboxStatusRequest) (*cri.PodSandboxStatusResponse, error) {
	s, err := r.sandbox(q.PodSandboxId)
	if err != nil {
		return nil, err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return &cri.PodSandboxStatusResponse{Status: &cri.PodSandboxStatus{
		Id:          s.id,
		Metadata:    s.config.Metadata,
		State:       s.state,
		CreatedAt:   s.created,
		Network:     &cri.PodSandboxNetworkStatus{Ip: r.fixture.podAddress(s.slot)},
		Labels:      s.config.Labels,
		Annotations: s.config.Annotations,
	}}, nil
}

func (r *criRuntime) ListPodSandbox(_ context.Context, q *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	filter := q.GetFilter()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	response := &cri.ListPodSandboxResponse{}
	for _, s := range r.sandboxes {
		if filter.GetId() != "" && filter.Id != s.id || filter.GetState() != nil && filter.State.State != s.state ||
			!hasLabels(s.config.Labels, filter.GetLabelSelector()) {
			continue
		}
		response.Items = append(response.Items, &cri.PodSandbox{
			Id:          s.id,
			Metadata:    s.config.Metadata,
			State:       s.state,
			CreatedAt:   s.created,
			Labels:      s.config.Labels,
			Annotations: s.config.Annotations,
		})
	}
	return response, nil
}

func hasLabels(labels, wanted map[string]string) bool {
	for key, value := range wanted {
		if labels[key] != value {
			return false
		}
	}
	return true
}

func (r *criRuntime) CreateContainer(_ context.Context, q *cri.CreateContainerRequest) (*cri.CreateContainerResponse, error) {
	s, err := r.sandbox(q.PodSandboxId)
	if err != nil {
		return nil, err
	}
	c := &container{
		id:      newID(),
		fixture: r.fixture,
		sandbox: s,
		config:  q.Config,
		created: time.Now().UnixNano(),
		ended:   make(chan struct{}),
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.containers[c.id] = c
	return &cri.CreateContainerResponse{ContainerId: c.id}, nil
}

func (r *criRuntime) StartContainer(_ context.Context, q *cri.StartContainerRequest) (*cri.StartContainerResponse, error) {
	c, err := r.container(q.ContainerId)
	if err != nil {
		return nil, err
	}
	return &cri.StartContainerResponse{}, c.start()
}

func (r *criRuntime) StopContainer(ctx context.Context, q *cri.StopContainerRequest) (*cri.StopContainerResponse, error) {
	c, err := r.container(q.ContainerId)
	if err != nil {
		return nil, err
	}
	return &cri.StopContainerResponse{}, c.stop(ctx, time.Duration(q.Timeout)*time.Second)
}

func (r *criRuntime) RemoveContainer(ctx context.Context, q *cri.RemoveContainerRequest) (*cri.RemoveContainerResponse, error) {
	c, err := r.container(q.ContainerId)
	if err != nil {
		return &cri.RemoveContainerResponse{}, nil
	}
	if err := c.stop(ctx, 0); err != nil {
		return nil, err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.containers, c.id)
	return &cri.RemoveContainerResponse{}, nil
}

func (r *criRuntime) ListContainers(_ context.Context, q *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	filter := q.GetFilter()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	response := &cri.ListContainersResponse{}
	for _, c := range r.containers {
		summary := c.summary()
		if filter.GetId() != "" && filter.Id != c.id || filter.GetState() != nil && filter.State.State != summary.State ||
			filter.GetPodSandboxId() != "" && filter.PodSandboxId != c.sandbox.id ||
			!hasLabels(c.config.Labels, filter.GetLabelSelector()) {
			continue
		}
		response.Containers = append(response.Containers, summary)
	}
	return response, nil
}

func (r *criRuntime) ContainerStatus(_ context.Context, q *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	c, err := r.container(q.ContainerId)
	if err != nil {
		return nil, err
	}
	return &cri.ContainerStatusResponse{Status: c.status()}, nil
}

func (r *criRuntime) ReopenContainerLog(_ context.Context, q *cri.ReopenContainerLogRequest) (*cri.ReopenContainerLogResponse, error) {
	c, err := r.container(q.ContainerId)
	if err != nil {
		return nil, err
	}
	if err := c.isRunning(); err != nil {
		return nil, err
	}
	return &cri.ReopenContainerLogResponse{}, c.log.reopen()
}

func (r *criRuntime) ListContainerStats(context.Context, *cri.ListContainerStatsRequest) (*cri.ListContainerStatsResponse, error) {
	return &cri.ListContainerStatsResponse{}, nil
}

func (r *criRuntime) ListPodSandboxStats(context.Context, *cri.ListPodSandboxStatsRequest) (*cri.ListPodSandboxStatsResponse, error) {
	return &cri.ListPodSandboxStatsResponse{}, nil
}
