package oos

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

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
		f := framer{r: conn}
		for range requests {
			b, err := f.next()
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
func TestFramer(t *testing.T) {
	const (
		first  = "SIP/2.0 200 OK\r\nVia: x;branch=1\r\nContent-Length: 5\r\n\r\nab\r\nc"
		second = "OPTIONS sip:u SIP/2.0\nl : 0\n\n"
		third  = "SIP/2.0 503 No\r\n\r\n"
	)
	stream := "\r\n\r\n" + first + "\r\n" + second + third + "SIP/2.0 200"
	for name, r := range map[string]io.Reader{
		"octet by octet": iotest.OneByteReader(strings.NewReader(stream)),
		"at once":        strings.NewReader(stream),
	} {
		f := framer{r: r}
		for _, want := range []string{first, second, third} {
			if got, err := f.next(); err != nil || string(got) != want {
				t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
			}
		}
		if got, err := f.next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: got %q, %v, want the end", name, got, err)
		}
	}
}

func TestFramer_isBounded(t *testing.T) {
	for name, in := range map[string][]byte{
		"endless header":   append([]byte("SIP/2.0 200 OK\r\nX: "), bytes.Repeat([]byte("x"), 2*maxFrame)...),
		"endless line":     bytes.Repeat([]byte("x"), 2*maxFrame),
		"huge body":        []byte("SIP/2.0 200 OK\r\nContent-Length: 99999999\r\n\r\n"),
		"negative length":  []byte("SIP/2.0 200 OK\r\nContent-Length: -1\r\n\r\n"),
		"length in words":  []byte("SIP/2.0 200 OK\r\nContent-Length: five\r\n\r\n"),
		"length too large": []byte("SIP/2.0 200 OK\r\nContent-Length: 65536\r\n\r\n"),
	} {
		f := framer{r: bytes.NewReader(in)}
		if got, err := f.next(); !errors.Is(err, errFrame) {
			t.Errorf("%s: got %d octets, %v", name, len(got), err)
		}
	}
}
