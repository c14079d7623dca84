package oos

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/oos/wire"
	"github.com/understudy-sip/understudy/supervisor"
)

// listen accepts connections and passes each to serve.
func listen(t *testing.T, addr string, serve func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	t.Cleanup(func() { l.Close() })
	return l
}

// answering answers so many requests.
func answering(requests int, code int) func(net.Conn) {
	return func(conn net.Conn) {
		f := wire.Framer{R: conn}
		for range requests {
			b, err := f.Next()
			if err != nil {
				return
			}
			_, _ = conn.Write(append([]byte("\r\n\r\n"), replyTo(b, code)...))
		}
	}
}

func addrOf(l net.Listener) netip.AddrPort { return netip.MustParseAddrPort(l.Addr().String()) }

func TestProber_TCP(t *testing.T) {
	held := make(chan net.Conn, 100)
	l := listen(t, "127.0.0.1:0", func(c net.Conn) {
		held <- c
		answering(1<<30, 200)(c)
	})
	addr := addrOf(l)
	_, reports := probing(t, target(addr, TCP))
	await(t, reports, supervisor.ClassServing, "200 in ")
	l.Close()
	(<-held).Close()
	if v := await(t, reports, supervisor.ClassDead, "refused"); !Refused(v) {
		t.Errorf("got %+v", v)
	}
	listen(t, addr.String(), answering(1<<30, 503))
	await(t, reports, supervisor.ClassDraining, "503 in ")
}

func TestProber_TCPsilent(t *testing.T) {
	l := listen(t, "127.0.0.1:0", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	_, reports := probing(t, target(addrOf(l), TCP))
	if v := await(t, reports, supervisor.ClassDead, "no answer for "); Refused(v) {
		t.Errorf("got %+v", v)
	}
}

// A server may close or reset a connection that it has answered on: the next one tells.
func TestProber_TCPclosesAfterAnswers(t *testing.T) {
	l := listen(t, "127.0.0.1:0", func(c net.Conn) {
		answering(2, 200)(c)
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	_, reports := probing(t, target(addrOf(l), TCP))
	await(t, reports, supervisor.ClassServing, "200 in ")
	for range 3 {
		await(t, reports, supervisor.ClassServing, "200 in ", supervisor.ClassDead, supervisor.ClassUnknown)
	}
}

func TestProber_TCPclosesAtOnce(t *testing.T) {
	l := listen(t, "127.0.0.1:0", func(net.Conn) {})
	_, reports := probing(t, target(addrOf(l), TCP))
	await(t, reports, supervisor.ClassDead, "refused: connection closed without an answer")
}

func TestProber_TLS(t *testing.T) {
	cert, pool := certificate(t)
	l := listen(t, "127.0.0.1:0", func(c net.Conn) {
		answering(1<<30, 200)(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}))
	})
	good := target(addrOf(l), TLS)
	good.TLS = &tls.Config{RootCAs: pool, ServerName: "sip.example.net"}
	_, reports := probing(t, good)
	await(t, reports, supervisor.ClassServing, "200 in ")
	bad := good
	bad.TLS = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "sip.example.net"}
	_, reports = probing(t, bad)
	await(t, reports, supervisor.ClassDead, "refused: TLS: ", supervisor.ClassServing)
	noTLS := target(addrOf(listen(t, "127.0.0.1:0", answering(1<<30, 200))), TLS)
	noTLS.TLS = good.TLS
	_, reports = probing(t, noTLS)
	await(t, reports, supervisor.ClassDead, "", supervisor.ClassServing)
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"sip.example.net"},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// A stream may be cut anywhere and hold several messages at once (RFC 3261 18.3).
