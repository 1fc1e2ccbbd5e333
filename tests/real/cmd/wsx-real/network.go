// Addresses: a part of the loopback network for each run, and what pods call it.
//
// Lives here: the claim on 127.n.0.0/16, the translation 10.n.x.y -> 127.n.x.y (the API server refuses loopback addresses for
// pods and nodes), and connections that can be cut on command.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
)

const (
	firstNetwork = 200
	lastNetwork  = 249
)

// claimNetwork finds a network nobody uses, or takes the wanted one. The claim ends with the returned listener or the process.
func claimNetwork(wanted, port int) (int, net.Listener, error) {
	first, last := firstNetwork, lastNetwork
	if wanted != 0 {
		first, last = wanted, wanted
	}
	var failure error
	for n := first; n <= last; n++ {
		claim, err := net.Listen("unix", fmt.Sprintf("@wsx-real/%d", n))
		if err != nil {
			failure = fmt.Errorf("network 127.%d.0.0/16 belongs to another fixture", n)
			continue
		}
		if failure = probePorts(n, port); failure == nil {
			return n, claim, nil
		}
		claim.Close()
	}
	return 0, nil, fmt.Errorf("%w; choose with --port or --network", failure)
}

func probePorts(network, port int) error {
	for p := port; p < port+3; p++ {
		address := fmt.Sprintf("127.%d.0.1:%d", network, p)
		listener, err := net.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("port %d is taken on %s", p, address)
		}
		if err != nil {
			return fmt.Errorf("cannot listen: %w", err)
		}
		listener.Close()
	}
	return nil
}

func (f *fixture) host() string          { return fmt.Sprintf("127.%d.0.1", f.Network) }
func (f *fixture) nodeAddress() string   { return fmt.Sprintf("10.%d.0.1", f.Network) }
func (f *fixture) kubeletPort() int      { return f.Port + 1 }
func (f *fixture) streamAddress() string { return fmt.Sprintf("%s:%d", f.host(), f.Port+2) }

// podAddress is the i-th pod's address as the API says it.
func (f *fixture) podAddress(i int) string {
	return fmt.Sprintf("10.%d.%d.%d", f.Network, 1+i/250, 1+i%250)
}

// local translates an address of the cluster, with or without a port, to the one on this machine.
func (f *fixture) local(address string) string {
	if rest, found := strings.CutPrefix(address, fmt.Sprintf("10.%d.", f.Network)); found {
		return fmt.Sprintf("127.%d.%s", f.Network, rest)
	}
	return address
}

// dial is the pod network.
func (f *fixture) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, f.local(address))
}

// severable remembers connections so that all of them can be reset.
type severable struct {
	mutex       sync.Mutex
	connections map[*severableConn]struct{}
}

type severableConn struct {
	net.Conn
	owner *severable
}

// newSeverable returns an empty set which is cut whenever the process gets SIGUSR1.
func newSeverable() *severable {
	s := &severable{connections: map[*severableConn]struct{}{}}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		for range signals {
			s.cut()
		}
	}()
	return s
}

func (s *severable) add(conn net.Conn) net.Conn {
	c := &severableConn{Conn: conn, owner: s}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.connections[c] = struct{}{}
	return c
}

// cut resets every connection; both ends see ECONNRESET.
func (s *severable) cut() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for c := range s.connections {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		c.Conn.Close()
	}
	clear(s.connections)
}

func (c *severableConn) Close() error {
	c.owner.mutex.Lock()
	delete(c.owner.connections, c)
	c.owner.mutex.Unlock()
	return c.Conn.Close()
}

// severableListener hands out connections that can be cut.
type severableListener struct {
	net.Listener
	set *severable
}

func (l severableListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.set.add(conn), nil
}
