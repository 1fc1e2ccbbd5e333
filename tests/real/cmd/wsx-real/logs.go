// Container logs as container runtimes write them.
//
// Lives here: the CRI log file (`TIME STREAM F|P LINE`), its re-opening for rotation by the kubelet, what of it is kept for
// those who judge, and the move of the kubelet's fixed log folder into the run's directory.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	kubecontainer "k8s.io/kubernetes/pkg/kubelet/container"
)

// maxLogLine is where containerd cuts lines.
const maxLogLine = 16 << 10

// containerLog is the log file of one container. Without a path it swallows everything.
type containerLog struct {
	mutex sync.Mutex
	path  string
	// kept is a folder that gets a second name for each file, so that rotation deletes nothing.
	kept string
	file *os.File
}

func openLog(path, kept string) (*containerLog, error) {
	l := &containerLog{path: path, kept: kept}
	return l, l.reopen()
}

// reopen continues in a new file after the old one was renamed.
func (l *containerLog) reopen() error {
	if l.path == "" {
		return nil
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file = file
	return l.keep()
}

// keep gives the file a name that tells when it was begun. One that goes on has such a name already.
func (l *containerLog) keep() error {
	if info, err := l.file.Stat(); err != nil || info.Sys().(*syscall.Stat_t).Nlink > 1 {
		return err
	}
	if err := os.MkdirAll(l.kept, 0o755); err != nil {
		return err
	}
	return os.Link(l.path, filepath.Join(l.kept, fmt.Sprintf("%020d", time.Now().UnixNano())))
}

func (l *containerLog) close() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

func (l *containerLog) write(stream, tag string, line []byte) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.file != nil {
		entry := fmt.Appendf(nil, "%s %s %s %s\n", time.Now().Format(time.RFC3339Nano), stream, tag, line)
		l.file.Write(entry)
	}
}

// logLines cuts one output stream of a container into lines of its log.
type logLines struct {
	log     *containerLog
	stream  string
	pending []byte
}

func (w *logLines) Write(data []byte) (int, error) {
	length := len(data)
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		complete := end >= 0
		if !complete {
			end = len(data)
		}
		w.pending = append(w.pending, data[:end]...)
		for len(w.pending) > maxLogLine {
			w.log.write(w.stream, "P", w.pending[:maxLogLine])
			w.pending = w.pending[maxLogLine:]
		}
		if !complete {
			break
		}
		w.log.write(w.stream, "F", w.pending)
		w.pending = w.pending[:0]
		data = data[end+1:]
	}
	return length, nil
}

// Close writes what came after the last line end.
func (w *logLines) Close() error {
	if len(w.pending) > 0 {
		w.log.write(w.stream, "F", w.pending)
		w.pending = nil
	}
	return nil
}

// fanOut gives a container's output to its log and to everybody attached. A writer that fails is dropped.
type fanOut struct {
	mutex   sync.Mutex
	closed  bool
	writers map[io.Writer]func()
}

// add adds a writer; gone is called once, when it was removed, has failed, or the output has ended.
func (f *fanOut) add(w io.Writer, gone func()) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.closed {
		gone()
		return
	}
	if f.writers == nil {
		f.writers = map[io.Writer]func(){}
	}
	f.writers[w] = gone
}

func (f *fanOut) remove(w io.Writer) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if gone, found := f.writers[w]; found {
		delete(f.writers, w)
		gone()
	}
}

func (f *fanOut) Write(data []byte) (int, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for w, gone := range f.writers {
		if _, err := w.Write(data); err != nil {
			delete(f.writers, w)
			gone()
		}
	}
	return len(data), nil
}

func (f *fanOut) Close() error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.closed = true
	for w, gone := range f.writers {
		delete(f.writers, w)
		gone()
	}
	return nil
}

// relocatedOS is the real operating system with one folder moved: the kubelet's legacy log links have a constant path.
type relocatedOS struct {
	kubecontainer.RealOS
	prefix, to string
}

func (o relocatedOS) move(path string) string {
	if rest, found := strings.CutPrefix(path, o.prefix); found {
		return o.to + rest
	}
	return path
}

func (o relocatedOS) MkdirAll(path string, mode os.FileMode) error {
	return o.RealOS.MkdirAll(o.move(path), mode)
}

func (o relocatedOS) Symlink(target, path string) error {
	return o.RealOS.Symlink(target, o.move(path))
}

func (o relocatedOS) Stat(path string) (os.FileInfo, error) { return o.RealOS.Stat(o.move(path)) }
func (o relocatedOS) Remove(path string) error              { return o.RealOS.Remove(o.move(path)) }
func (o relocatedOS) Glob(path string) ([]string, error)    { return o.RealOS.Glob(o.move(path)) }
