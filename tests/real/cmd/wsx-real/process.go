// Processes that do not outlive us.
//
// Lives here: forking from a thread that lives for ever (Pdeathsig fires when the forking thread ends), exit codes, and the
// search for what escaped from its group, by a marker in the environment.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

var forkThread = sync.OnceValue(func() chan func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for call := range calls {
			call()
		}
	}()
	return calls
})

// startProcess starts a command which is killed when this process ends, for whatever reason.
func startProcess(command *exec.Cmd) error {
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	result := make(chan error)
	forkThread() <- func() { result <- command.Start() }
	return <-result
}

// exitCode is the code of a process which was waited for, as a shell would say it.
func exitCode(err error) int {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err != nil {
			return 255
		}
		return 0
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

// isAlive says whether a process exists and is no zombie.
func isAlive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The state follows the name, which may hold anything, in parentheses.
	end := bytes.LastIndex(text, []byte(") "))
	return end >= 0 && !bytes.HasPrefix(text[end+2:], []byte("Z"))
}

// killMarked kills every process whose environment has the marker, and returns how many there were.
func killMarked(marker string) int {
	killed := 0
	// A process may fork while we look: look again until nothing is left.
	for range 20 {
		found := markedProcesses(marker)
		if len(found) == 0 {
			break
		}
		for _, pid := range found {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		killed = max(killed, len(found))
		time.Sleep(2 * time.Millisecond)
	}
	return killed
}

func markedProcesses(marker string) []int {
	var found []int
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		environment, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(append([]byte{0}, environment...), []byte("\x00"+marker+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			found = append(found, pid)
		}
	}
	return found
}
