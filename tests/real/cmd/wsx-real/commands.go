// Commands on standard input, one a line, each answered with one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// answer is one line on standard output.
type answer struct {
	Done         string `json:"done,omitempty"`
	Error        string `json:"error,omitempty"`
	Milliseconds int64  `json:"ms"`
}

const usage = "stop|start|restart|pause|continue apiserver|kubelet|node, cut apiserver|node, kill POD CONTAINER, wait"

// serve obeys until it is told to end. It returns an error when a child ended by itself.
func (s *supervisor) serve(ctx context.Context, lines <-chan string) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case dead := <-s.died:
			return dead.obituary()
		case line := <-lines:
			began := time.Now()
			a := answer{Done: line}
			if err := s.obey(ctx, strings.Fields(line)); err != nil {
				a = answer{Error: fmt.Sprintf("%s: %v", line, err)}
			}
			a.Milliseconds = time.Since(began).Milliseconds()
			text, err := json.Marshal(a)
			if err != nil {
				return err
			}
			fmt.Println(string(text))
		}
	}
}

func (s *supervisor) obey(ctx context.Context, words []string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	switch {
	case len(words) == 1 && words[0] == "wait":
		return s.whileAlive(ctx, s.ready)
	case len(words) == 3 && words[0] == "kill":
		return s.killContainer(ctx, words[1], words[2])
	case len(words) == 2:
		return s.obeyFor(ctx, words[0], words[1])
	}
	return fmt.Errorf("unknown command: %s", usage)
}

func (s *supervisor) obeyFor(ctx context.Context, verb, name string) error {
	// A node goes down from its kubelet, and comes up from its runtime.
	processes := map[string][]*child{"apiserver": {s.apiserver}, "kubelet": {s.kubelet}, "node": {s.kubelet, s.runtime}}
	parts, found := processes[name]
	if !found {
		return fmt.Errorf("unknown process: %s", usage)
	}
	switch {
	case verb == "stop":
		stopAll(parts)
		return nil
	case verb == "start":
		return s.startAll(ctx, parts)
	case verb == "restart":
		stopAll(parts)
		return s.startAll(ctx, parts)
	case verb == "pause":
		return signalAll(parts, syscall.SIGSTOP)
	case verb == "continue":
		return signalAll(parts, syscall.SIGCONT)
	case verb == "cut" && name == "apiserver":
		return s.apiserver.signal(syscall.SIGUSR1)
	case verb == "cut" && name == "node":
		return s.runtime.signal(syscall.SIGUSR1)
	}
	return fmt.Errorf("unknown command: %s", usage)
}

func stopAll(parts []*child) {
	for _, c := range parts {
		c.kill()
	}
}

func (s *supervisor) startAll(ctx context.Context, parts []*child) error {
	for _, c := range slices.Backward(parts) {
		if err := c.start(); err != nil {
			return err
		}
		if err := s.whileAlive(ctx, c.wait); err != nil {
			return err
		}
	}
	return nil
}

func signalAll(parts []*child, signal syscall.Signal) error {
	for _, c := range parts {
		if err := c.signal(signal); err != nil {
			return err
		}
	}
	return nil
}

// killContainer kills a container's main process. The pod may be named NAMESPACE/POD.
func (s *supervisor) killContainer(ctx context.Context, pod, container string) error {
	namespace := podNamespace
	if before, after, found := strings.Cut(pod, "/"); found {
		namespace, pod = before, after
	}
	pid, _, err := s.fixture.running(namespace, pod, container)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	for isAlive(pid) && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}
