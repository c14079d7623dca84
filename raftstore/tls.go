package raftstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// The purposes of a TLS stream, chosen by ALPN. The numbers are versions of what is spoken inside.
const (
	alpnRaft    = "understudy-raft/1"
	alpnControl = "understudy-control/1"
	alpnMembers = "understudy-registrations/1"
)

// TLSFiles names the PEM files of a node. They are read again for every handshake, so new ones take effect without a restart. CA may
// hold several certificates, to move from one CA to the next.
type TLSFiles struct{ CA, Cert, Key string }

// credentials are what this node shows and whom it trusts.
type credentials struct {
	files TLSFiles
	mu    sync.Mutex
	last  *loaded
}

type loaded struct {
	cert  tls.Certificate
	id    Identity
	roots *x509.CertPool
	ca    []*x509.Certificate
}

// load reads the files. While they are being replaced they may not fit together; the last good ones serve until they do, and the
// error tells what is wrong.
func (c *credentials) load() (*loaded, error) {
	l, err := c.files.read()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		return c.last, err
	}
	c.last = l
	return l, nil
}

// Expires is when the certificate ends, or the last of the CA's if that is sooner.
func (f TLSFiles) Expires() (time.Time, error) {
	l, err := f.read()
	if err != nil {
		return time.Time{}, err
	}
	var ca time.Time
	for _, c := range l.ca {
		if c.NotAfter.After(ca) {
			ca = c.NotAfter
		}
	}
	if end := l.cert.Leaf.NotAfter; end.Before(ca) {
		return end, nil
	}
	return ca, nil
}

func (f TLSFiles) read() (*loaded, error) {
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s and key %s: %w", f.Cert, f.Key, err)
	}
	id, err := Identify(cert.Leaf)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Cert, err)
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	l := &loaded{cert: cert, id: id, roots: x509.NewCertPool()}
	if l.ca, err = parseCertificates(pem); err != nil {
		return nil, fmt.Errorf("read CA %s: %w", f.CA, err)
	}
	for _, ca := range l.ca {
		l.roots.AddCert(ca)
	}
	if err := l.verify(cert.Leaf, nil, time.Now()); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Cert, err)
	}
	return l, nil
}

// verify checks that one of our CAs signed the certificate. Expiry of the leaf is left to roster.admit, which can tell the other side.
func (l *loaded) verify(leaf *x509.Certificate, chain []*x509.Certificate, now time.Time) error {
	if now.After(leaf.NotAfter) {
		now = leaf.NotAfter
	}
	if now.Before(leaf.NotBefore) {
		now = leaf.NotBefore
	}
	between := x509.NewCertPool()
	for _, c := range chain {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: l.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fmt.Errorf("certificate %q (fingerprint %s) was not signed by this node's CA %q (fingerprint %s): all nodes need certificates of one CA: %w",
			leaf.Subject.CommonName, Fingerprint(leaf), l.ca[0].Subject.CommonName, Fingerprint(l.ca[0]), err)
	}
	return err
}

// config is the TLS configuration of one handshake. Names and addresses are not compared, as the certificate's name is the identity
// and addresses may change: who may do what is decided by roster.admit, for both sides alike, right after the handshake and before
// anything else is read.
func (l *loaded) config(alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{l.cert},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // replaced by VerifyConnection, which the handshake can't succeed without
		NextProtos:             alpn,
		SessionTicketsDisabled: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return errors.New("the other side showed no certificate")
			}
			return l.verify(cs.PeerCertificates[0], cs.PeerCertificates[1:], time.Now())
		},
	}
}

// opAlert is what crypto/tls calls an error that the other side sent.
const opAlert = "remote error"

// explain turns what a failed handshake says into what its operator can do about it.
func explain(err error) error {
	var op *net.OpError
	err = plain(err)
	switch {
	case errors.As(err, &op): // an alert: plain takes every other one apart
		return fmt.Errorf("the other side refused this node's certificate (its log says why; usually another CA): %w", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no TLS handshake in time: is it understudy that listens there? %w", err)
	}
	return err
}
