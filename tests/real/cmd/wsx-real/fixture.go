// What the four processes of one run agree on.
//
// Lives here: the run's directory, network, ports and gates, and the file which carries them from process to process.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/component-base/version"
)

// release is the Kubernetes release which go.mod names; build.sh passes it to the linker.
var release = version.Get().GitVersion

const nodeName = "node-1"

// fixture is one run.
type fixture struct {
	// Dir holds everything the run writes, and goes with it.
	Dir string
	// Network is n in 127.n.0.0/16, the run's own part of the loopback addresses.
	Network int
	// Port is the API server's; the kubelet has the next, the streaming server the one after.
	Port int
	// Gates names the cluster that is emulated.
	Gates string
	// LogSize is the size in bytes from which the kubelet rotates a log; 0 leaves it its defaults.
	LogSize int
}

// emulation is a set of feature gates which makes a release behave like another one.
type emulation struct {
	name      string
	apiserver map[string]bool
	node      map[string]bool
}

func emulationNames() string {
	names := make([]string, len(emulations))
	for i, e := range emulations {
		names[i] = e.name
	}
	return strings.Join(names, "|")
}

func findEmulation(name string) (emulation, error) {
	i := slices.IndexFunc(emulations, func(e emulation) bool { return e.name == name })
	if i < 0 {
		return emulation{}, fmt.Errorf("unknown gates %q: %s", name, emulationNames())
	}
	return emulations[i], nil
}

// path names a file of the run.
func (f *fixture) path(parts ...string) string {
	return filepath.Join(append([]string{f.Dir}, parts...)...)
}

// marker is in the environment of every process of every container of this run.
func (f *fixture) marker() string { return "WSX_REAL_RUN=" + f.Dir }

// pidFile names the file which says what runs as a container: the main process's id and the container's id.
func (f *fixture) pidFile(namespace, pod, container string) string {
	return f.path("pids", namespace+"_"+pod+"_"+container)
}

// running reads what the node's process wrote about a running container.
func (f *fixture) running(namespace, pod, container string) (pid int, id string, err error) {
	text, err := os.ReadFile(f.pidFile(namespace, pod, container))
	if err != nil {
		return 0, "", fmt.Errorf("pod %s has no running container %s", pod, container)
	}
	if _, err = fmt.Sscan(string(text), &pid, &id); err == nil && !isAlive(pid) {
		err = fmt.Errorf("pod %s has a container %s which has just ended", pod, container)
	}
	return pid, id, err
}

func (f *fixture) save() error {
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return os.WriteFile(f.path("fixture.json"), text, 0o600)
}

func loadFixture(dir string) (*fixture, error) {
	text, err := os.ReadFile(filepath.Join(dir, "fixture.json"))
	if err != nil {
		return nil, err
	}
	f := &fixture{}
	return f, json.Unmarshal(text, f)
}
