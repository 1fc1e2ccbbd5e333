// The supervisor: starts the cluster, keeps it, and leaves nothing behind.
//
// Lives here: the command line, the order of start and end. What is said on standard output is the kubeconfig's path and the
// answers to commands (commands.go), nothing else.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// startLimit bounds the wait for anything that starts.
const startLimit = 60 * time.Second

// supervisor is the outermost process of a run.
type supervisor struct {
	fixture   *fixture
	client    *kubernetes.Clientset
	apiserver *child
	kubelet   *child
	runtime   *child
	// died --the child that ended without being told to--> supervisor
	died chan *child
	// held as long as the process lives
	lock  *os.File
	claim net.Listener
}

func say(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "wsx-real: "+format+"\n", arguments...)
}

// supervise returns the exit code that belongs to its error.
func supervise(arguments []string) (int, error) {
	flags := flag.NewFlagSet("wsx-real", flag.ContinueOnError)
	gates := flags.String("gates", emulations[0].name, "where WebSockets end: "+emulationNames())
	base := flags.String("base", defaultBase(), "directory for the state of runs")
	logSize := flags.Int("log-size", 0, "bytes from which the kubelet rotates a log, looked at every 100 ms; 0: 10 MiB, every 10 s")
	network := flags.Int("network", 0, "n in 127.n.0.0/16; 0 takes a free one")
	port := flags.Int("port", 6443, "port of the API server; the two after it are the node's")
	// Help is asked for; a wrong flag gets one line.
	flags.SetOutput(io.Discard)
	if err := flags.Parse(arguments); errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(os.Stderr)
		flags.PrintDefaults()
		return 0, nil
	} else if err != nil {
		return 2, fmt.Errorf("%w; see --help", err)
	}
	if flags.NArg() > 0 {
		return 2, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if _, err := findEmulation(*gates); err != nil {
		return 2, err
	}
	if *logSize < 0 {
		return 2, fmt.Errorf("--log-size is 0 or more")
	}
	if *network < 0 || *network > 255 || *port < 1 || *port > 65533 {
		return 2, fmt.Errorf("--network is 0 to 255, --port 1 to 65533")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	// A closed standard output must not end us before we have cleaned up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	s := &supervisor{fixture: &fixture{Gates: *gates, LogSize: *logSize, Port: *port}, died: make(chan *child, 3)}
	if err := s.takePlace(*base, *network); err != nil {
		return 1, err
	}
	defer s.end()
	ctx, lines := readLines(ctx)
	if err := s.start(ctx); err != nil {
		if ctx.Err() != nil {
			say("told to end before it was ready: a signal, or the end of standard input")
			return 0, nil
		}
		return 1, err
	}
	fmt.Println(s.fixture.kubeconfig())
	return 1, s.serve(ctx, lines)
}

// readLines reads commands; the end of standard input ends the context.
func readLines(ctx context.Context) (context.Context, <-chan string) {
	ctx, cancel := context.WithCancel(ctx)
	lines := make(chan string)
	go func() {
		defer cancel()
		// Not a Scanner: to that, a long line is the end.
		for reader := bufio.NewReader(os.Stdin); ; {
			line, err := reader.ReadString('\n')
			if err == nil || line != "" {
				lines <- strings.TrimSuffix(line, "\n")
			}
			if err != nil {
				return
			}
		}
	}()
	return ctx, lines
}

// takePlace takes a directory and a network.
func (s *supervisor) takePlace(base string, network int) error {
	base, err := openBase(base)
	if err != nil {
		return err
	}
	if s.fixture.Network, s.claim, err = claimNetwork(network, s.fixture.Port); err != nil {
		return err
	}
	s.fixture.Dir, s.lock, err = claimRun(base, say)
	return err
}

func (s *supervisor) start(ctx context.Context) error {
	began := time.Now()
	f := s.fixture
	for _, write := range []func() error{f.save, f.writeCertificates, f.writeUsers} {
		if err := write(); err != nil {
			return err
		}
	}
	var err error
	if s.client, err = f.client("admin"); err != nil {
		return err
	}
	s.apiserver = &child{name: "apiserver", fixture: f, died: s.died, answers: s.apiServerAnswers}
	s.kubelet = &child{name: "kubelet", fixture: f, died: s.died, answers: s.kubeletAnswers}
	s.runtime = &child{name: "runtime", fixture: f, died: s.died, answers: s.runtimeAnswers}
	say("starting %s in %s, gates %s, logs %s and %s", release, f.Dir, f.Gates, s.apiserver.logFile(), s.kubelet.logFile())
	if err := s.apiserver.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := s.runtime.start(); err != nil {
		return err
	}
	if err := s.whileAlive(ctx, s.runtime.wait); err != nil {
		return err
	}
	if err := s.kubelet.start(); err != nil {
		return err
	}
	if err := s.whileAlive(ctx, s.apiserver.wait); err != nil {
		return err
	}
	if err := s.whileAlive(ctx, func(ctx context.Context) error { return createObjects(ctx, s.client) }); err != nil {
		return err
	}
	if err := s.whileAlive(ctx, s.ready); err != nil {
		return err
	}
	say("ready after %d ms at %s", time.Since(began).Milliseconds(), f.server())
	return nil
}

func (s *supervisor) ready(ctx context.Context) error { return s.fixture.waitForPods(ctx, s.client) }

// whileAlive waits for something, but not longer than all children live.
func (s *supervisor) whileAlive(ctx context.Context, wait func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- wait(ctx) }()
	select {
	case err := <-result:
		return err
	case dead := <-s.died:
		return dead.obituary()
	}
}

// end leaves nothing behind.
func (s *supervisor) end() {
	for _, c := range []*child{s.kubelet, s.runtime, s.apiserver} {
		if c != nil {
			c.kill()
		}
	}
	if err := os.RemoveAll(s.fixture.Dir); err != nil {
		say("cannot remove %s: %v", s.fixture.Dir, err)
	}
}

func (s *supervisor) apiServerAnswers(ctx context.Context) bool {
	return s.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
}

func (s *supervisor) kubeletAnswers(ctx context.Context) bool {
	return isListening(ctx, "tcp", fmt.Sprintf("%s:%d", s.fixture.host(), s.fixture.kubeletPort()))
}

func (s *supervisor) runtimeAnswers(ctx context.Context) bool {
	return isListening(ctx, "unix", s.fixture.runtimeSocket())
}

func isListening(ctx context.Context, network, address string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		conn.Close()
	}
	return err == nil
}
