package raftstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

func certOf(t testing.TB, p Pair) *x509.Certificate {
	t.Helper()
	return must(parseCertificates(p.Cert))(t)[0]
}

// Issued certificates carry cluster, kind and name, and are signed by the CA for a year.
func TestPKI_issue(t *testing.T) {
	ca := must(NewCA("lab", CAValidity))(t)
	roots := x509.NewCertPool()
	roots.AddCert(certOf(t, ca))
	for _, node := range []supervisor.Node{{ID: "sip-a"}, {ID: "w", Witness: true}} {
		c := certOf(t, must(Issue(ca, node, NodeValidity))(t))
		id, err := Identify(c)
		if err != nil {
			t.Fatal(err)
		}
		if want := "understudy://lab/" + kindOf(node) + "/" + string(node.ID); id.String() != want {
			t.Errorf("got %s, want %s", id, want)
		}
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots}); err != nil {
			t.Error(err)
		}
		if left := time.Until(c.NotAfter); left < 364*24*time.Hour || left > 366*24*time.Hour {
			t.Errorf("valid for %v more", left)
		}
	}
}

// A node's certificate signs nothing, and what is issued never outlives the CA.
func TestPKI_limits(t *testing.T) {
	ca := must(NewCA("lab", time.Hour))(t)
	node := must(Issue(ca, supervisor.Node{ID: "a"}, NodeValidity))(t)
	if got, want := certOf(t, node).NotAfter, certOf(t, ca).NotAfter; got.After(want) {
		t.Errorf("valid until %v, the CA until %v", got, want)
	}
	if _, err := Issue(node, supervisor.Node{ID: "b"}, NodeValidity); err == nil {
		t.Error("a node's certificate was used as CA")
	}
	other := must(NewCA("lab", time.Hour))(t)
	if _, err := Issue(Pair{Cert: ca.Cert, Key: other.Key}, supervisor.Node{ID: "b"}, time.Hour); err == nil {
		t.Error("a CA with the wrong key signed")
	}
	for _, name := range []string{"", "-a", "a.b", "a b", "ä", strings.Repeat("x", 64)} {
		if _, err := Issue(ca, supervisor.Node{ID: nodeID(name)}, time.Hour); err == nil {
			t.Errorf("node name %q was accepted", name)
		}
		if _, err := NewCA(name, time.Hour); err == nil {
			t.Errorf("cluster name %q was accepted", name)
		}
	}
}

// Every way in which a certificate can be the wrong one is refused with what was expected.
func TestRoster_admit(t *testing.T) {
	now := time.Now()
	r := roster{cluster: "lab", self: "a", nodes: map[nodeID]Node{
		"a": {Node: supervisor.Node{ID: "a"}}, "b": {Node: supervisor.Node{ID: "b"}}, "w": {Node: supervisor.Node{ID: "w", Witness: true}},
	}}
	good := Identity{Cluster: "lab", Kind: "member", Name: "b", notBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	with := func(fn func(*Identity)) Identity { id := good; fn(&id); return id }
	tests := []struct {
		name string
		id   Identity
		want nodeID
		says string // part of the error, empty for none
	}{
		{"caller", good, "", ""},
		{"dialed", good, "b", ""},
		{"another cluster", with(func(i *Identity) { i.Cluster = "prod" }), "", `is of cluster "prod", this is cluster "lab"`},
		{"witness as member", with(func(i *Identity) { i.Kind = "witness" }), "", `is a witness's, the configuration has "b" as member`},
		{"member as witness", with(func(i *Identity) { i.Name = "w" }), "", `is a member's, the configuration has "w" as witness`},
		{"unknown node", with(func(i *Identity) { i.Name = "c" }), "", "the nodes of the configuration are a, b, w"},
		{"own name", with(func(i *Identity) { i.Name = "a" }), "", "two hosts have one name"},
		{"another node's address", good, "w", `answered at the address of "w"`},
		{"the CA's", with(func(i *Identity) { i.Kind, i.Name = "ca", "" }), "", "is the CA's"},
		{"expired", with(func(i *Identity) { i.NotAfter = now.Add(-time.Minute) }), "", "expired on"},
		{"not yet valid", with(func(i *Identity) { i.notBefore = now.Add(time.Minute) }), "", "check the clocks"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := r.admit(tt.id, tt.want, now)
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("got %v, want %q in it", err, tt.says)
			}
		})
	}
}

// Certificates that don't name exactly one identity in exactly one way have none.
func TestIdentify_malformed(t *testing.T) {
	parse := func(s string) *url.URL { return must(url.Parse(s))(t) }
	for name, c := range map[string]*x509.Certificate{
		"no name":        {DNSNames: []string{"b"}},
		"other scheme":   {DNSNames: []string{"b"}, URIs: []*url.URL{parse("spiffe://lab/member/b")}},
		"two names":      {DNSNames: []string{"b"}, URIs: []*url.URL{parse("understudy://lab/member/b"), parse("understudy://lab/member/a")}},
		"other DNS name": {DNSNames: []string{"a"}, URIs: []*url.URL{parse("understudy://lab/member/b")}},
		"two DNS names":  {DNSNames: []string{"b", "a"}, URIs: []*url.URL{parse("understudy://lab/member/b")}},
		"unknown kind":   {DNSNames: []string{"b"}, URIs: []*url.URL{parse("understudy://lab/king/b")}},
		"longer path":    {DNSNames: []string{"b"}, URIs: []*url.URL{parse("understudy://lab/member/b/x")}},
		"no node":        {DNSNames: []string{"b"}, URIs: []*url.URL{parse("understudy://lab/member")}},
	} {
		if id, err := Identify(c); err == nil {
			t.Errorf("%s: got %s", name, id)
		}
	}
}

// handshake connects two sets of credentials and gives both sides' errors.
func handshake(t *testing.T, client, server TLSFiles) (clientErr, serverErr error) {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer l.Close()
	c := must((&credentials{files: client}).load())(t)
	s := must((&credentials{files: server}).load())(t)
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			defer conn.Close()
			_, err = tls.Server(conn, s.config(alpnControl)).Read(make([]byte, 1))
		}
		done <- err
	}()
	conn := must(net.Dial("tcp", l.Addr().String()))(t)
	defer conn.Close()
	tc := tls.Client(conn, c.config(alpnControl))
	if clientErr = tc.Handshake(); clientErr == nil {
		_, clientErr = tc.Write([]byte{1})
	}
	return clientErr, <-done
}

// Nodes of another CA don't get through the handshake, and both sides can tell why.
func TestTLS_otherCA(t *testing.T) {
	p := newTestPair(t)
	stranger := must(NewCA("test", CAValidity))(t)
	files := func(id nodeID) TLSFiles { return p.options(id).TLS }
	if c, s := handshake(t, files("a"), files("b")); c != nil || s != nil {
		t.Fatalf("same CA: %v, %v", c, s)
	}
	p.writeCert("b", stranger, must(Issue(stranger, supervisor.Node{ID: "b"}, NodeValidity))(t))
	c, s := handshake(t, files("a"), files("b"))
	if c == nil || !strings.Contains(explain(c).Error(), "was not signed by this node's CA") {
		t.Errorf("dialer: got %v", c)
	}
	if s == nil || !strings.Contains(explain(s).Error(), "refused this node's certificate") {
		t.Errorf("acceptor: got %v", s)
	}
}

// New files are used from the next handshake on; while they don't fit together the old ones are.
func TestTLS_rotation(t *testing.T) {
	p := newTestPair(t)
	c := &credentials{files: p.options("a").TLS}
	before := must(c.load())(t)
	fresh := must(Issue(p.ca, supervisor.Node{ID: "a"}, NodeValidity))(t)
	if err := os.WriteFile(p.file("a", "cert.pem"), fresh.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := c.load()
	if err == nil || l != before {
		t.Errorf("half replaced: got %v, %v", l, err)
	}
	if err := os.WriteFile(p.file("a", "key.pem"), fresh.Key, 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err = c.load(); err != nil || l == before {
		t.Errorf("replaced: got %v, %v", l, err)
	}
}

// Opening a store tells at once what is wrong with the node's own files.
func TestOpen_ownCertificate(t *testing.T) {
	p := newTestPair(t)
	for _, tt := range []struct {
		name string
		node supervisor.Node
		ca   Pair
		says string
	}{
		{"other node's", supervisor.Node{ID: "b"}, p.ca, `answered at the address of "a"`},
		{"a witness's", supervisor.Node{ID: "a", Witness: true}, p.ca, `is a witness's, the configuration has "a" as member`},
		{"other cluster's", supervisor.Node{ID: "a"}, must(NewCA("prod", time.Hour))(t), `is of cluster "prod"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.writeCert("a", tt.ca, must(Issue(tt.ca, tt.node, time.Hour))(t))
			if _, err := p.try("a"); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q in it", err, tt.says)
			}
		})
	}
	_, err := p.try("a", func(o *Options) { o.TLS.Cert = filepath.Join(p.dir, "none.pem") })
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: got %v", err)
	}
}
