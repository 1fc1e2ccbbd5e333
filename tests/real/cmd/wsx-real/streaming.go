// Exec, attach and port-forward: what containerd does, on local processes.
//
// Lives here: the runtime half of Kubernetes' own streaming library. The kubelet's connections to it can be cut, and end gently.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	utilexec "k8s.io/utils/exec"
)

// streamRuntime is the streaming library's view of the runtime.
type streamRuntime struct {
	runtime *criRuntime
}

func startStreaming(f *fixture, r *criRuntime) (streamingServer, error) {
	server, err := newStreamingServer(f.streamAddress(), &streamRuntime{r})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", f.streamAddress())
	if err != nil {
		return nil, err
	}
	go http.Serve(gentleListener{severableListener{listener, newSeverable()}}, server)
	return server, nil
}

// gentleListener hands out connections that end gently.
type gentleListener struct{ severableListener }

type gentleConn struct {
	*severableConn
	once sync.Once
}

func (l gentleListener) Accept() (net.Conn, error) {
	conn, err := l.severableListener.Accept()
	if err != nil {
		return nil, err
	}
	return &gentleConn{severableConn: conn.(*severableConn)}, nil
}

// Close ends our direction and reads until the kubelet, when it has passed everything on, ends the other one. Closed at once, the
// kernel would answer stdin that is still on its way with a reset; the kubelet's next write fails, and its proxy, which ends when
// either direction does (apimachinery upgradeaware.go, tryUpgrade), drops output and status that it has not passed on: README.md.
func (c *gentleConn) Close() error {
	c.once.Do(func() {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			tcp.CloseWrite()
		}
		go func() {
			defer c.severableConn.Close()
			io.Copy(io.Discard, c.severableConn)
		}()
	})
	return nil
}

func (r *criRuntime) Exec(_ context.Context, q *cri.ExecRequest) (*cri.ExecResponse, error) {
	c, err := r.container(q.ContainerId)
	if err != nil {
		return nil, err
	}
	if err := c.isRunning(); err != nil {
		return nil, err
	}
	return r.streams.GetExec(q)
}

func (r *criRuntime) Attach(_ context.Context, q *cri.AttachRequest) (*cri.AttachResponse, error) {
	c, err := r.container(q.ContainerId)
	if err != nil {
		return nil, err
	}
	if err := c.isRunning(); err != nil {
		return nil, err
	}
	return r.streams.GetAttach(q)
}

func (r *criRuntime) PortForward(_ context.Context, q *cri.PortForwardRequest) (*cri.PortForwardResponse, error) {
	s, err := r.sandbox(q.PodSandboxId)
	if err != nil {
		return nil, err
	}
	if s.state != cri.PodSandboxState_SANDBOX_READY {
		return nil, fmt.Errorf("sandbox container is not running")
	}
	return r.streams.GetPortForward(q)
}

// ExecSync serves exec probes.
func (r *criRuntime) ExecSync(ctx context.Context, q *cri.ExecSyncRequest) (*cri.ExecSyncResponse, error) {
	c, err := r.container(q.ContainerId)
	if err != nil {
		return nil, err
	}
	var out, errOut buffer
	code, err := c.exec(q.Cmd, nil, &out, &errOut, false, nil)
	if err != nil {
		return nil, err
	}
	return &cri.ExecSyncResponse{Stdout: out.Bytes(), Stderr: errOut.Bytes(), ExitCode: int32(code)}, nil
}

type buffer struct{ bytes.Buffer }

func (*buffer) Close() error { return nil }

// Exec runs a command until it ends; that the client is gone does not end it.
func (s *streamRuntime) Exec(_ context.Context, id string, command []string, in io.Reader, out, errOut io.WriteCloser, tty bool, sizes <-chan terminalSize) error {
	c, err := s.runtime.container(id)
	if err != nil {
		return err
	}
	code, err := c.exec(command, in, out, errOut, tty, sizes)
	if err != nil || code == 0 {
		return err
	}
	return utilexec.CodeExitError{Err: fmt.Errorf("error executing command %v, exit code %d", command, code), Code: code}
}

// Attach follows containerd's rules: the end of stdin ends the container's stdin when it is to be given once (and is no terminal);
// else it ends the attachment.
func (s *streamRuntime) Attach(_ context.Context, id string, in io.Reader, out, errOut io.WriteCloser, tty bool, sizes <-chan terminalSize) error {
	c, err := s.runtime.container(id)
	if err != nil {
		return err
	}
	if err := c.isRunning(); err != nil {
		return err
	}
	if console := c.terminal(); console != nil && sizes != nil {
		go followSize(console, sizes)
	}
	var outputs sync.WaitGroup
	follow := func(output *fanOut, to io.Writer) {
		outputs.Add(1)
		output.add(to, outputs.Done)
	}
	if out != nil {
		follow(&c.stdout, out)
	}
	if errOut != nil {
		follow(&c.stderr, errOut)
	}
	if in != nil && c.stdin != nil {
		given := make(chan struct{})
		go func() {
			defer close(given)
			io.Copy(c.stdin, in)
			if c.config.StdinOnce && !c.config.Tty {
				c.stdin.Close()
				return
			}
			c.stdout.remove(out)
			c.stderr.remove(errOut)
		}()
		if out == nil && errOut == nil {
			select {
			case <-given:
			case <-c.ended:
			}
		}
	}
	outputs.Wait()
	return nil
}

// PortForward connects one stream with a port of the pod. When one direction has ended, the other has a second: containerd's rule.
func (s *streamRuntime) PortForward(ctx context.Context, id string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	sandbox, err := s.runtime.sandbox(id)
	if err != nil {
		return err
	}
	address := fmt.Sprintf("%s:%d", s.runtime.fixture.podAddress(sandbox.slot), port)
	conn, err := s.runtime.fixture.dial(ctx, "tcp4", address)
	if err != nil {
		return fmt.Errorf("failed to execute portforward in network namespace %q: failed to connect to localhost:%d inside namespace %q, IPv4: %w",
			"/var/run/netns/"+id, port, id, err)
	}
	defer conn.Close()
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(stream, conn)
		ended <- err
	}()
	go func() {
		_, err := io.Copy(conn, stream)
		ended <- err
	}()
	var failure error
	select {
	case failure = <-ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case second := <-ended:
		if failure == nil {
			failure = second
		}
	case <-time.After(time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	return failure
}
