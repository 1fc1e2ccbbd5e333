// Command wsx-pod is what runs in the fixture's own pods.
//
// Lives here: a small HTTP server and a log writer. It is a program of its own because a process of wsx-real costs 90 MB.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "server":
		err = serve(net.JoinHostPort(os.Getenv("POD_BIND_IP"), os.Args[2]))
	case len(os.Args) == 3 && os.Args[1] == "log":
		err = writeLog(os.Args[2])
	default:
		err = fmt.Errorf("usage: wsx-pod server PORT | wsx-pod log INTERVAL")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "wsx-pod:", err)
		os.Exit(1)
	}
}

// serve answers with the pod's name, with what it was sent (/echo), or with zeros (/bytes?n=COUNT).
func serve(address string) error {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, os.Getenv("POD_NAME"))
	})
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	})
	http.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) {
		count, _ := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
		w.Header().Set("Content-Length", strconv.FormatInt(count, 10))
		io.CopyN(w, zeros{}, count)
	})
	fmt.Println("serving on", address)
	return http.ListenAndServe(address, nil)
}

type zeros struct{}

func (zeros) Read(data []byte) (int, error) {
	clear(data)
	return len(data), nil
}

// writeLog writes a numbered line at every interval, each tenth to standard error.
func writeLog(interval string) error {
	pause, err := time.ParseDuration(interval)
	if err != nil {
		return err
	}
	for i := 1; ; i++ {
		if i%10 == 0 {
			fmt.Fprintf(os.Stderr, "error %d\n", i)
		} else {
			fmt.Printf("line %d\n", i)
		}
		time.Sleep(pause)
	}
}
