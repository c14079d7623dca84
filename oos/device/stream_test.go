package device

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/oos/wire"
)

// listenTCP accepts connections and passes each to serve.
func listenTCP(t *testing.T, addr string, serve func(net.Conn)) net.Listener {
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

// answeringTCP answers so many requests.
func answeringTCP(requests int, code int) func(net.Conn) {
	return func(conn net.Conn) {
		f := wire.Framer{R: conn}
		for range requests {
			b, err := f.Next()
			if err != nil {
				return
			}
			_, _ = conn.Write(replyTo([]byte("\r\n\r\n"), b, code, ""))
		}
	}
}

func overTCP(l net.Listener) Device { return quick("gw", "sip:"+l.Addr().String()+";transport=tcp") }

// A device on TCP is in service, refuses, is back: refused means out of service at once (S4-15).
func TestStream_TCP(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		held := make(chan net.Conn, 100)
		l := listenTCP(t, addr, func(c net.Conn) {
			held <- c
			answeringTCP(1<<30, 200)(c)
		})
		w := watch(t, nil, overTCP(l))
		w.await("gw", InService, "200 in ", OutOfService)
		settle(t, "five answers on one connection", func() bool { return w.Stats().Answers >= 5 })
		if len(held) != 1 {
			t.Errorf("%d connections for %d answers", len(held), w.Stats().Answers)
		}
		l.Close()
		(<-held).Close()
		w.await("gw", OutOfService, "refused")
		listenTCP(t, l.Addr().String(), answeringTCP(1<<30, 404))
		w.await("gw", InService, "404 in ")
	}
}

// A connection into a black hole is replaced with the next probe.
func TestStream_silent(t *testing.T) {
	conns := make(chan net.Conn, 1000)
	l := listenTCP(t, "127.0.0.1:0", func(c net.Conn) {
		if conns <- c; len(conns) < 3 {
			_, _ = io.Copy(io.Discard, c)
			return
		}
		answeringTCP(1<<30, 200)(c)
	})
	w := watch(t, nil, overTCP(l))
	w.await("gw", OutOfService, "no answer for ")
	w.await("gw", InService, "200 in ")
}

// A device may close or reset a connection that it has answered on: the next one tells.
func TestStream_closesAfterAnswers(t *testing.T) {
	l := listenTCP(t, "127.0.0.1:0", func(c net.Conn) {
		answeringTCP(2, 200)(c)
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	w := watch(t, nil, overTCP(l))
	w.await("gw", InService, "200 in ", OutOfService)
	settle(t, "nine answers", func() bool { return w.Stats().Answers >= 9 })
	if v := w.Verdicts()[0]; v.State != InService || len(w.reports) > 0 {
		t.Errorf("got %+v", v)
	}
}

func TestStream_closesAtOnce(t *testing.T) {
	l := listenTCP(t, "127.0.0.1:0", func(net.Conn) {})
	w := watch(t, nil, overTCP(l))
	w.await("gw", OutOfService, "refused: connection closed without an answer")
}

// Garbage and floods on a connection are no answer and cost no memory.
func TestStream_hostile(t *testing.T) {
	for name, write := range map[string]func(net.Conn, []byte){
		"no SIP": func(c net.Conn, _ []byte) {
			for {
				if _, err := c.Write(make([]byte, 65536)); err != nil {
					return
				}
			}
		},
		"strange answers": func(c net.Conn, b []byte) {
			answer := replyTo(nil, b, 200, "")
			answer[len("SIP/2.0 200 Whatever\r\nVia: SIP/2.0/TCP 127.0.0.1:12345;branch=z9hG4bK")] ^= 1
			for {
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := listenTCP(t, "127.0.0.1:0", func(c net.Conn) {
				f := wire.Framer{R: c}
				b, err := f.Next()
				if err == nil {
					write(c, append([]byte(nil), b...))
				}
			})
			w := watch(t, nil, overTCP(l))
			w.await("gw", OutOfService, "", InService)
		})
	}
}

// TLS is checked, and a handshake that one of the two rejects means out of service at once (S4-15).
func TestStream_TLS(t *testing.T) {
	cert, pool := certificate(t)
	l := listenTCP(t, "127.0.0.1:0", func(c net.Conn) {
		answeringTCP(1<<30, 200)(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}))
	})
	at := l.Addr().String()
	good := quick("good", "sips:gw.example")
	good.Addr = at
	stranger := quick("stranger", "sips:other.example")
	stranger.Addr = at
	plain := quick("plain", "sip:"+listenTCP(t, "127.0.0.1:0", func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.0 400 What?\r\n\r\n")) }).Addr().String()+";transport=tls")
	w := watch(t, func(o *Options) { o.TLS = &tls.Config{RootCAs: pool} }, good, stranger, plain)
	seen := map[string]Verdict{}
	for len(seen) < 3 {
		if v := <-w.reports; v.Confirmed {
			seen[v.Device] = v
		}
	}
	if v := seen["good"]; v.State != InService {
		t.Errorf("got %+v", v)
	}
	for name, want := range map[string]string{"stranger": "refused: TLS: ", "plain": "refused: TLS: "} {
		if v := seen[name]; v.State != OutOfService || len(v.Text) < len(want) || v.Text[:len(want)] != want {
			t.Errorf("%s: got %+v", name, v)
		}
	}
}

// certificate makes one for gw.example, and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"gw.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
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
