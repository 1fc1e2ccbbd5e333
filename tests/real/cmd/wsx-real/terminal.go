// Terminals for containers and executed commands.
package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a new terminal. Never call Fd on the first: it would become blocking, and its Close would no
// longer end a Read.
func openTerminal() (ours, theirs *os.File, err error) {
	ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	var number int
	err = control(ours, func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	})
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// terminalOutput reads what a terminal shows. Linux looks for output first and then whether the other end is closed: what came in
// between is behind the first EIO.
type terminalOutput struct{ ours *os.File }

func (t terminalOutput) Read(data []byte) (int, error) {
	n, err := t.ours.Read(data)
	if errors.Is(err, syscall.EIO) {
		return t.ours.Read(data)
	}
	return n, err
}

func (t terminalOutput) Close() error { return t.ours.Close() }

func control(file *os.File, call func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = call(int(fd)) }); err != nil {
		return err
	}
	return result
}

// followSize gives a terminal the sizes that arrive until the channel ends.
func followSize(terminal *os.File, sizes <-chan terminalSize) {
	for size := range sizes {
		control(terminal, func(fd int) error {
			return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Height, Col: size.Width})
		})
	}
}
