// Certificates, made anew for every run.
//
// Lives here: one authority and what it signs. Every certificate is a pair of files NAME.crt and NAME.key in the run's directory.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"time"
)

// certificate is what one certificate says.
type certificate struct {
	file      string
	name      string
	group     string
	hosts     []string
	addresses []string
}

// certificates lists all of a run's but the authority's. Those with a group are for clients.
func (f *fixture) certificates() []certificate {
	return []certificate{
		{
			file:      "apiserver",
			name:      "kube-apiserver",
			hosts:     []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
			addresses: []string{f.host(), "127.0.0.1", "10.0.0.1"},
		},
		{file: "kubelet", name: nodeName, hosts: []string{nodeName}, addresses: []string{f.host(), f.nodeAddress()}},
		{file: "apiserver-kubelet-client", name: "kube-apiserver-kubelet-client", group: "system:masters"},
		{file: "node-client", name: "system:node:" + nodeName, group: "system:nodes"},
		{file: "admin", name: "admin", group: "system:masters"},
	}
}

// writeCertificates makes the authority (ca.crt), all certificates and the key that signs service account tokens (sa.key).
func (f *fixture) writeCertificates() error {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	authority := template(certificate{name: "wsx-real"})
	authority.IsCA = true
	authority.KeyUsage |= x509.KeyUsageCertSign
	if err := f.writeSigned("ca", authority, authority, authorityKey, authorityKey); err != nil {
		return err
	}
	for _, c := range f.certificates() {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		if err := f.writeSigned(c.file, template(c), authority, key, authorityKey); err != nil {
			return err
		}
		if err := f.writeKey(c.file+".key", key); err != nil {
			return err
		}
	}
	tokens, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return f.writeKey("sa.key", tokens)
}

func template(c certificate) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: c.name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(30 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		DNSNames:              c.hosts,
	}
	for _, address := range c.addresses {
		t.IPAddresses = append(t.IPAddresses, net.ParseIP(address))
	}
	switch {
	case c.group != "":
		t.Subject.Organization = []string{c.group}
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case len(c.addresses) > 0:
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	return t
}

func (f *fixture) writeSigned(file string, c, issuer *x509.Certificate, key, issuerKey *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, key.Public(), issuerKey)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return os.WriteFile(f.path(file+".crt"), text, 0o600)
}

func (f *fixture) writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	return os.WriteFile(f.path(file), text, 0o600)
}
