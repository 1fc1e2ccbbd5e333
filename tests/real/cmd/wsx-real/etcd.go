// etcd, inside the API server's process.
package main

import (
	"errors"
	"net/url"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// startEtcd returns when etcd serves on a unix socket. Its data survive the process, but not the machine: nothing is synced.
func (f *fixture) startEtcd() error {
	config := embed.NewConfig()
	config.Dir = f.path("etcd")
	config.ListenClientUrls = []url.URL{{Scheme: "unix", Path: f.etcdSocket()}}
	config.ListenPeerUrls = []url.URL{{Scheme: "unix", Path: f.path("peer.sock")}}
	config.UnsafeNoFsync = true
	config.TickMs, config.ElectionMs = 10, 100
	config.LogLevel = "error"
	config.LogOutputs = []string{"stderr"}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	select {
	case <-server.Server.ReadyNotify():
		return nil
	case err := <-server.Err():
		return err
	case <-time.After(30 * time.Second):
		return errors.New("etcd was not ready within 30 s")
	}
}

func (f *fixture) etcdSocket() string { return f.path("etcd.sock") }
