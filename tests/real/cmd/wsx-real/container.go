// Containers: local processes with an identity.
//
// Lives here: sandboxes and containers, their start, their end, and what may be done to a running one.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// sandbox is a pod as the runtime sees it: an address.
type sandbox struct {
	id      string
	config  *cri.PodSandboxConfig
	created int64
	state   cri.PodSandboxState
	// slot is the pod's place in the network.
	slot int
}

// container is one container; its fields from state on belong to the mutex.
type container struct {
	id      string
	fixture *fixture
	sandbox *sandbox
	config  *cri.ContainerConfig
	created int64
	stdout  fanOut
	stderr  fanOut
	log     *containerLog
	stdin   *io.PipeWriter
	ended   chan struct{}

	mutex    sync.Mutex
	state    cri.ContainerState
	pid      int
	console  *os.File
	started  int64
	finished int64
	exitCode int32
}

func (c *container) marker() string { return "WSX_REAL_CONTAINER=" + c.id }

func (c *container) environment() []string {
	environment := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/",
		"HOSTNAME=" + c.sandbox.config.Hostname,
		"POD_BIND_IP=" + c.fixture.local(c.fixture.podAddress(c.sandbox.slot)),
		c.fixture.marker(),
		c.marker(),
	}
	for _, e := range c.config.Envs {
		environment = append(environment, e.Key+"="+string(e.Value))
	}
	return environment
}

func (c *container) directory() string {
	if c.config.WorkingDir != "" {
		return c.config.WorkingDir
	}
	return "/"
}

// start starts the main process.
func (c *container) start() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.state != cri.ContainerState_CONTAINER_CREATED {
		return fmt.Errorf("container is in %s state", c.state)
	}
	p := &program{
		command:     append(append([]string{}, c.config.Command...), c.config.Args...),
		directory:   c.directory(),
		environment: c.environment(),
		terminal:    c.config.Tty,
		stdout:      &c.stdout,
		stderr:      &c.stderr,
	}
	if len(p.command) == 0 {
		p.command = []string{"sleep", "infinity"}
	}
	var err error
	if c.log, err = openLog(c.logPath(), c.keptPath()); err != nil {
		return err
	}
	c.logTo(&c.stdout, "stdout")
	c.logTo(&c.stderr, "stderr")
	var stdin *io.PipeReader
	if c.config.Stdin {
		stdin, c.stdin = io.Pipe()
		p.stdin = stdin
	}
	r, err := p.start()
	if err != nil {
		c.log.close()
		c.finish(128)
		return fmt.Errorf("failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "+
			"unable to start container process: error during container init: %w: unknown", err)
	}
	c.state, c.pid, c.started = cri.ContainerState_CONTAINER_RUNNING, r.command.Process.Pid, time.Now().UnixNano()
	c.console = r.console
	c.writePid()
	go c.wait(r, stdin)
	return nil
}

func (c *container) logTo(output *fanOut, stream string) {
	lines := &logLines{log: c.log, stream: stream}
	output.add(lines, func() { lines.Close() })
}

// wait does what a kernel does when the first process of a namespace ends: nothing of it survives.
func (c *container) wait(r *running, stdin *io.PipeReader) {
	code := r.wait(c.kill)
	if stdin != nil {
		stdin.Close()
	}
	c.stdout.Close()
	c.stderr.Close()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.log.close()
	os.Remove(c.pidFile())
	c.finish(code)
}

// finish needs the mutex.
func (c *container) finish(code int) {
	c.state, c.finished, c.exitCode = cri.ContainerState_CONTAINER_EXITED, time.Now().UnixNano(), int32(code)
	close(c.ended)
}

// stop asks the main process to end, and ends it after the grace period.
func (c *container) stop(ctx context.Context, grace time.Duration) error {
	c.mutex.Lock()
	if c.state != cri.ContainerState_CONTAINER_RUNNING {
		c.mutex.Unlock()
		return nil
	}
	syscall.Kill(c.pid, syscall.SIGTERM)
	c.mutex.Unlock()
	select {
	case <-c.ended:
		return nil
	case <-time.After(grace):
	case <-ctx.Done():
	}
	c.kill()
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kill ends everything that was started in the container.
func (c *container) kill() {
	syscall.Kill(-c.pid, syscall.SIGKILL)
	killMarked(c.marker())
}

// terminal returns our end of the main process's terminal, if it has one.
func (c *container) terminal() *os.File {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.console
}

// isRunning returns containerd's error when the container does not run.
func (c *container) isRunning() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.state != cri.ContainerState_CONTAINER_RUNNING {
		return fmt.Errorf("container is in %s state", c.state)
	}
	return nil
}

// exec runs a command beside the main process, and returns its exit code.
func (c *container) exec(command []string, in io.Reader, out, errOut io.WriteCloser, tty bool, sizes <-chan terminalSize) (int, error) {
	if err := c.isRunning(); err != nil {
		return 0, err
	}
	p := &program{
		command:     command,
		directory:   c.directory(),
		environment: c.environment(),
		terminal:    tty,
		stdin:       in,
		stdout:      out,
		stderr:      errOut,
		sizes:       sizes,
	}
	if tty {
		p.environment = append(p.environment, "TERM=xterm")
	}
	r, err := p.start()
	if err != nil {
		return 0, fmt.Errorf("failed to exec in container: failed to start exec %q: OCI runtime exec failed: exec failed: "+
			"unable to start container process: %w: unknown", newID(), err)
	}
	return r.wait(func() {}), nil
}

func (c *container) logPath() string {
	if c.sandbox.config.LogDirectory == "" || c.config.LogPath == "" {
		return ""
	}
	return filepath.Join(c.sandbox.config.LogDirectory, c.config.LogPath)
}

// keptPath is the folder where the container's log files are kept, those of earlier runs and pods of its name, too.
func (c *container) keptPath() string {
	pod := c.sandbox.config.Metadata
	return c.fixture.path("written", pod.Namespace+"_"+pod.Name+"_"+c.config.Metadata.Name)
}

func (c *container) pidFile() string {
	pod := c.sandbox.config.Metadata
	return c.fixture.pidFile(pod.Namespace, pod.Name, c.config.Metadata.Name)
}

// writePid tells the supervisor what runs; it renames, since the supervisor may be reading.
func (c *container) writePid() {
	text := fmt.Sprintf("%d %s", c.pid, c.id)
	if os.WriteFile(c.pidFile()+".new", []byte(text), 0o600) == nil {
		os.Rename(c.pidFile()+".new", c.pidFile())
	}
}

// status is what the kubelet hears.
func (c *container) status() *cri.ContainerStatus {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	s := &cri.ContainerStatus{
		Id:          c.id,
		Metadata:    c.config.Metadata,
		State:       c.state,
		CreatedAt:   c.created,
		StartedAt:   c.started,
		FinishedAt:  c.finished,
		ExitCode:    c.exitCode,
		Image:       c.config.Image,
		ImageRef:    imageID(c.config.Image),
		ImageId:     imageID(c.config.Image),
		Labels:      c.config.Labels,
		Annotations: c.config.Annotations,
		LogPath:     c.logPath(),
	}
	if c.state == cri.ContainerState_CONTAINER_EXITED {
		switch {
		case c.started == 0:
			s.Reason = "StartError"
		case c.exitCode == 0:
			s.Reason = "Completed"
		default:
			s.Reason = "Error"
		}
	}
	return s
}

func (c *container) summary() *cri.Container {
	s := c.status()
	return &cri.Container{
		Id:           s.Id,
		PodSandboxId: c.sandbox.id,
		Metadata:     s.Metadata,
		Image:        s.Image,
		ImageRef:     s.ImageRef,
		ImageId:      s.ImageId,
		State:        s.State,
		CreatedAt:    s.CreatedAt,
		Labels:       s.Labels,
		Annotations:  s.Annotations,
	}
}
