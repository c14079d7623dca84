package traffic

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
)

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Encrypted SIP counts as a sign of life, its keep-alives don't; on a port for TLS and on the port for SIP in the clear (issue: liveness by
// records with payload).
func TestMonitor_TLS(t *testing.T) {
	for _, port := range []string{"5061", "5060"} {
		t.Run(port, func(t *testing.T) {
			h := newFar(t)
			m := run(t, standard())
			at := net.JoinHostPort(here4, port)
			l, err := tls.Listen("tcp", at, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var conn net.Conn
			h.do(t, func() (err error) { conn, err = net.Dial("tcp", at); return err })
			defer conn.Close()
			accepted := make(chan net.Conn, 1)
			go func() {
				c, err := l.Accept()
				if err == nil {
					err = c.(*tls.Conn).Handshake()
				}
				if err != nil {
					t.Error(err)
				}
				accepted <- c
			}()
			client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a certificate of the test's own
			if err := client.Handshake(); err != nil {
				t.Fatal(err)
			}
			server := <-accepted
			defer server.Close()
			exchange := func(from, to net.Conn, text string) {
				t.Helper()
				if _, err := io.WriteString(from, text); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(to, make([]byte, len(text))); err != nil {
					t.Fatal(err)
				}
			}
			exchange(client, server, "\r\n\r\n")
			exchange(server, client, "\r\n")
			before := settled(t, m, h)
			if before.RecordsIn != 0 || before.ParseErrors != 0 {
				t.Errorf("before any message: got %d records, %d errors", before.RecordsIn, before.ParseErrors)
			}
			for range 10 {
				exchange(client, server, request("REGISTER", "secret", 1))
				exchange(server, client, response(200, "REGISTER", "secret", 1))
			}
			s := await(t, m, "records", func(s Stats) bool { return s.RecordsIn >= 10 && s.RecordsOut >= before.RecordsOut+10 })
			if s.RecordsIn != 10 || s.RecordsOut != before.RecordsOut+10 || s.In.Total() != before.In.Total() || s.Out.Total() != 0 || s.ParseErrors != 0 {
				t.Errorf("got %+v", s)
			}
			if s.LastIn <= before.LastIn || s.LastOut <= before.LastOut {
				t.Errorf("last in at %v, last out at %v, before %v and %v", s.LastIn, s.LastOut, before.LastIn, before.LastOut)
			}
		})
	}
}
