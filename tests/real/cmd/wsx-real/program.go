// One local process that plays a process in a container: a main process or an executed command.
//
// Lives here: finding the executable, pipes or a terminal around the process, copying, and the exit code.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// program is what runs. Streams that are nil are not connected.
type program struct {
	command     []string
	directory   string
	environment []string
	terminal    bool
	stdin       io.Reader
	stdout      io.WriteCloser
	stderr      io.WriteCloser
	sizes       <-chan terminalSize
}

// running is a started program.
type running struct {
	command *exec.Cmd
	// console is our end of the terminal.
	console *os.File
	// stdin is our end of the pipe.
	stdin *os.File
	// copies counts the copiers of output that still run.
	copies chan struct{}
	count  int
}

// start starts the program, or says why not in runc's words.
func (p *program) start() (*running, error) {
	path, err := p.find()
	if err != nil {
		return nil, err
	}
	r := &running{copies: make(chan struct{}, 2)}
	r.command = &exec.Cmd{Path: path, Args: p.command, Dir: p.directory, Env: p.environment}
	r.command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var theirs []*os.File
	if p.terminal {
		theirs, err = r.connectTerminal()
	} else {
		theirs, err = r.connectPipes(p)
	}
	if err == nil {
		if err = startProcess(r.command); err != nil {
			err = fmt.Errorf("exec %s: %w", path, err)
		}
	}
	for _, file := range theirs {
		file.Close()
	}
	if err != nil {
		r.close()
		return nil, err
	}
	if p.terminal {
		r.serveTerminal(p)
	} else if p.stdin != nil {
		go r.feed(p.stdin)
	}
	return r, nil
}

func (r *running) connectTerminal() ([]*os.File, error) {
	ours, theirs, err := openTerminal()
	if err != nil {
		return nil, err
	}
	r.console = ours
	r.command.Stdin, r.command.Stdout, r.command.Stderr = theirs, theirs, theirs
	r.command.SysProcAttr.Setctty = true
	return []*os.File{theirs}, nil
}

func (r *running) serveTerminal(p *program) {
	if p.sizes != nil {
		go followSize(r.console, p.sizes)
	}
	if p.stdin != nil {
		// The end of stdin means nothing to a terminal.
		go io.Copy(r.console, p.stdin)
	}
	if p.stdout != nil {
		r.copy(p.stdout, terminalOutput{r.console})
	} else {
		r.copy(discard{}, terminalOutput{r.console})
	}
}

func (r *running) connectPipes(p *program) (theirs []*os.File, err error) {
	if p.stdin != nil {
		read, write, err := os.Pipe()
		if err != nil {
			return theirs, err
		}
		r.command.Stdin, r.stdin = read, write
		theirs = append(theirs, read)
	}
	if p.stdout != nil {
		read, write, err := os.Pipe()
		if err != nil {
			return theirs, err
		}
		r.command.Stdout = write
		theirs = append(theirs, write)
		r.copy(p.stdout, read)
	}
	if p.stderr != nil {
		read, write, err := os.Pipe()
		if err != nil {
			return theirs, err
		}
		r.command.Stderr = write
		theirs = append(theirs, write)
		r.copy(p.stderr, read)
	}
	return theirs, nil
}

// feed never holds up the end of the process: a client need not close stdin.
func (r *running) feed(stdin io.Reader) {
	io.Copy(r.stdin, stdin)
	r.stdin.Close()
}

// copy copies output until it ends, or nobody reads it: then the process gets EPIPE.
func (r *running) copy(to io.WriteCloser, from io.ReadCloser) {
	r.count++
	go func() {
		io.Copy(to, from)
		from.Close()
		to.Close()
		r.copies <- struct{}{}
	}()
}

// wait returns the exit code when the process has ended and its output, also that of its children, is delivered. In between it
// calls ended.
func (r *running) wait(ended func()) int {
	code := exitCode(r.command.Wait())
	ended()
	for ; r.count > 0; r.count-- {
		<-r.copies
	}
	r.close()
	return code
}

func (r *running) close() {
	if r.console != nil {
		r.console.Close()
	}
	if r.stdin != nil {
		r.stdin.Close()
	}
}

// find looks a program's executable up as runc does.
func (p *program) find() (string, error) {
	if len(p.command) == 0 {
		return "", fmt.Errorf("args must not be empty")
	}
	name := p.command[0]
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(p.directory, path)
		}
		info, err := os.Stat(path)
		switch {
		case os.IsPermission(err):
			return "", fmt.Errorf("exec: %q: permission denied", name)
		case err != nil:
			return "", fmt.Errorf("exec: %q: stat %s: no such file or directory", name, name)
		case info.IsDir():
			return "", fmt.Errorf("exec: %q: is a directory", name)
		case info.Mode()&0o111 == 0:
			return "", fmt.Errorf("exec: %q: permission denied", name)
		}
		return path, nil
	}
	for _, variable := range p.environment {
		search, found := strings.CutPrefix(variable, "PATH=")
		if !found {
			continue
		}
		for _, directory := range filepath.SplitList(search) {
			path := filepath.Join(directory, name)
			if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH", name)
}

// discard is an output nobody asked for.
type discard struct{}

func (discard) Write(data []byte) (int, error) { return len(data), nil }
func (discard) Close() error                   { return nil }
