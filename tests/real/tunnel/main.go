// A reverse tunnel as people build them: an entry that takes TCP connections, an agent that dialled
// out to it, and behind the agent a reverse proxy to the API server. hashicorp/yamux carries the
// connections, TLS runs inside, httputil.ReverseProxy passes upgrades on.
//
// With the plain library an upgraded connection is dead after the 101: net/http ends its pending
// read by a deadline in the past, yamux answers with an error that is a timeout but not temporary,
// and crypto/tls keeps such an error for good. With -temporary the error says that it is temporary.
//
// It prints one line of JSON, {"address": "127.0.0.1:PORT", "authority": "PEM"}, and ends with its stdin.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"github.com/hashicorp/yamux"
)

func main() {
	upstream := flag.String("upstream", "", "address of the API server, HOST:PORT")
	temporary := flag.Bool("temporary", false, "let time-out errors of the tunnel say that they are temporary")
	flag.Parse()
	certificate, authority := serverCertificate()

	near, far := tcpPair()
	entry := must(yamux.Client(near, quiet()))
	agent := must(yamux.Server(far, quiet()))

	go serve(agent, *upstream, certificate, *temporary)
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	go accept(listener, entry)

	check(json.NewEncoder(os.Stdout).Encode(map[string]string{
		"address":   listener.Addr().String(),
		"authority": authority,
	}))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// accept carries every connection to the agent, both ways.
func accept(listener net.Listener, entry *yamux.Session) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		stream := must(entry.Open())
		go func() { _, _ = io.Copy(stream, connection); _ = stream.Close() }()
		go func() { _, _ = io.Copy(connection, stream); _ = connection.Close() }()
	}
}

// serve is the agent: TLS and a reverse proxy over what comes out of the tunnel.
func serve(agent *yamux.Session, upstream string, certificate tls.Certificate, temporary bool) {
	var listener net.Listener = agent
	if temporary {
		listener = patient{agent}
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(&url.URL{Scheme: "https", Host: upstream})
		},
		// The last hop is not what is tested here.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	server := &http.Server{Handler: proxy, ErrorLog: log.New(io.Discard, "", 0)}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}}
	_ = server.Serve(tls.NewListener(listener, config))
}

// patient makes the time-out errors of its connections temporary, as those of TCP are.
type patient struct{ net.Listener }

func (p patient) Accept() (net.Conn, error) {
	connection, err := p.Listener.Accept()
	return patientConn{connection}, err
}

type patientConn struct{ net.Conn }

func (p patientConn) Read(buffer []byte) (int, error) {
	count, err := p.Conn.Read(buffer)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		err = temporaryError{err}
	}
	return count, err
}

type temporaryError struct{ error }

func (temporaryError) Timeout() bool   { return true }
func (temporaryError) Temporary() bool { return true }

func quiet() *yamux.Config {
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	return config
}

func tcpPair() (net.Conn, net.Conn) {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	defer listener.Close()
	near := must(net.Dial("tcp", listener.Addr().String()))
	return near, must(listener.Accept())
}

// serverCertificate makes an authority and a certificate for 127.0.0.1 that it signed.
func serverCertificate() (tls.Certificate, string) {
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()),
			Subject:      pkix.Name{CommonName: name},
			NotBefore:    time.Now().Add(-time.Hour),
			NotAfter:     time.Now().Add(24 * time.Hour),
		}
	}
	authority := template("wsx-tunnel-authority")
	authority.IsCA, authority.BasicConstraintsValid = true, true
	authority.KeyUsage = x509.KeyUsageCertSign
	authorityKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	authorityDER := must(x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey))

	leaf := template("wsx-tunnel")
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leafKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	leafDER := must(x509.CreateCertificate(rand.Reader, leaf, authority, &leafKey.PublicKey, authorityKey))

	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER})
	return tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}, string(block)
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
