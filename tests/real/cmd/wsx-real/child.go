// The inner processes, as the supervisor sees them.
//
// Lives here: starting the API server's, the kubelet's or the runtime's process, waiting until it serves, killing it with all it started.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

// child is one inner process; it can be started again.
type child struct {
	name    string
	fixture *fixture
	died    chan<- *child
	answers func(context.Context) bool

	command  *exec.Cmd
	ended    chan struct{}
	expected *atomic.Bool
}

func (c *child) logFile() string { return c.fixture.path(c.name + ".log") }

func (c *child) start() error {
	if c.command != nil && !c.expected.Load() {
		return fmt.Errorf("%s runs already", c.name)
	}
	log, err := os.OpenFile(c.logFile(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// Not our path: a new build may have taken it.
	command := exec.Command("/proc/self/exe", c.name, c.fixture.Dir)
	command.Args[0] = "wsx-real"
	command.Stdout, command.Stderr = log, log
	// An interrupt at the terminal is for the supervisor.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := startProcess(command); err != nil {
		return err
	}
	ended, expected := make(chan struct{}), &atomic.Bool{}
	c.command, c.ended, c.expected = command, ended, expected
	go func() {
		command.Wait()
		close(ended)
		if !expected.Load() {
			c.died <- c
		}
	}()
	return nil
}

// wait waits until the process serves.
func (c *child) wait(ctx context.Context) error {
	for !c.answers(ctx) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", c.name, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func (c *child) signal(signal syscall.Signal) error { return c.command.Process.Signal(signal) }

// kill ends the process, and with the runtime all that runs in pods.
func (c *child) kill() {
	if c.command == nil {
		return
	}
	c.expected.Store(true)
	c.command.Process.Kill()
	<-c.ended
	if c.name == "runtime" {
		killMarked(c.fixture.marker())
	}
}

// obituary is the error of a child that ended by itself, with the end of its log.
func (c *child) obituary() error {
	text, _ := os.ReadFile(c.logFile())
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if len(lines) > 20 {
		lines = lines[len(lines)-20:]
	}
	return fmt.Errorf("%s ended by itself (%s), the end of its log:\n%s", c.name, c.command.ProcessState, bytes.Join(lines, []byte("\n")))
}
