// Command wsx-real runs a real Kubernetes as four ordinary processes on loopback.
//
// Lives here: the choice of the process to be. Without a word it is the supervisor, which starts the others.
package main

import (
	"fmt"
	"os"
)

func main() {
	name, arguments := "supervisor", os.Args[1:]
	if len(arguments) > 0 && arguments[0] != "" && arguments[0][0] != '-' {
		name, arguments = arguments[0], arguments[1:]
	}
	err := fmt.Errorf("unknown subcommand %q: supervisor (default), apiserver, kubelet, runtime", name)
	code := 2
	switch name {
	case "supervisor":
		code, err = supervise(arguments)
	case "apiserver":
		code, err = 1, withFixture(name, arguments, runAPIServer)
	case "kubelet":
		code, err = 1, withFixture(name, arguments, runKubelet)
	case "runtime":
		code, err = 1, withFixture(name, arguments, runRuntime)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "wsx-real:", err)
		os.Exit(code)
	}
}

// withFixture runs one of the inner processes; its only argument is the run's directory.
func withFixture(name string, arguments []string, run func(*fixture) error) error {
	if len(arguments) != 1 {
		return fmt.Errorf("expected the directory of a run, got %q", arguments)
	}
	f, err := loadFixture(arguments[0])
	if err != nil {
		return err
	}
	// Else ps would say "exe".
	if err := os.WriteFile("/proc/self/comm", []byte("wsx-"+name), 0); err != nil {
		return err
	}
	return run(f)
}
