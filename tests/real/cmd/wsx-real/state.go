// Where runs keep their files, and what is left of those that were killed.
//
// Lives here: the base directory, one directory for each run with a lock that the kernel releases, and the cleaning of stale ones.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// neededBytes is what a run writes: etcd's preallocated log, pod logs, and some air.
	neededBytes = 400 << 20
	// A unix socket's path ends at 107 characters; the longest of ours below the run's directory is kubelet's.
	longestDir = 107 - len("/kubelet/pod-resources/kubelet.sock")
)

func defaultBase() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("wsx-real-%d", os.Getuid()))
}

// openBase creates the base directory, or makes sure that it is ours alone.
func openBase(base string) (string, error) {
	base, err := filepath.Abs(base)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", fmt.Errorf("%w; choose another place with --base", err)
	}
	info, err := os.Lstat(base)
	if err != nil {
		return "", err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(owner.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s is not a directory of this user; choose another with --base", base)
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(base, &disk); err != nil {
		return "", err
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < neededBytes {
		return "", fmt.Errorf("no space: %s has %d MiB free, a run needs %d; choose another place with --base", base, free>>20, neededBytes>>20)
	}
	return base, nil
}

// claimRun cleans up after runs that were killed, and creates a directory for this one. The lock lives as long as the process.
func claimRun(base string, say func(string, ...any)) (string, *os.File, error) {
	// One at a time: a directory without a lock yet would look stale.
	gate, err := lockFile(filepath.Join(base, "lock"), syscall.LOCK_EX)
	if err != nil {
		return "", nil, err
	}
	defer gate.Close()
	runs, _ := filepath.Glob(filepath.Join(base, "run-*"))
	for _, run := range runs {
		cleanStale(run, say)
	}
	run := filepath.Join(base, fmt.Sprintf("run-%d", os.Getpid()))
	if len(run) > longestDir {
		return "", nil, fmt.Errorf("%s is too long for unix sockets (%d characters are left); choose a shorter --base", run, longestDir)
	}
	if err := os.Mkdir(run, 0o700); err != nil {
		return "", nil, err
	}
	lock, err := lockFile(filepath.Join(run, "lock"), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return "", nil, err
	}
	if _, err := fmt.Fprintln(lock, os.Getpid()); err != nil {
		return "", nil, err
	}
	return run, lock, nil
}

// cleanStale removes the directory and the processes of a run whose supervisor is gone.
func cleanStale(run string, say func(string, ...any)) {
	lock, err := lockFile(filepath.Join(run, "lock"), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return
	}
	defer lock.Close()
	text, _ := os.ReadFile(filepath.Join(run, "lock"))
	killed := killMarked((&fixture{Dir: run}).marker())
	if err := os.RemoveAll(run); err != nil {
		say("cannot remove the stale run %s: %v", run, err)
		return
	}
	say("cleaned stale run %s (its supervisor, pid %s, was killed): directory removed, %d processes ended",
		run, strings.TrimSpace(string(text)), killed)
}

func lockFile(path string, how int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), how); err != nil {
		file.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	return file, nil
}
