package raftstore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// How long certificates last unless told otherwise, and how far they are dated back because the clocks of hosts differ.
const (
	CAValidity   = 10 * 365 * 24 * time.Hour
	NodeValidity = 365 * 24 * time.Hour
	backdated    = time.Hour
)

const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
)

// Pair is a certificate and its private key, both in PEM.
type Pair struct{ Cert, Key []byte }

// NewCA makes the certificate authority of a pair: self-signed, ECDSA P-256. It signs the certificates of this cluster's nodes only.
func NewCA(cluster string, valid time.Duration) (Pair, error) {
	if err := checkName("cluster", cluster); err != nil {
		return Pair{}, err
	}
	template, err := newTemplate("understudy "+cluster, valid)
	if err != nil {
		return Pair{}, err
	}
	template.URIs = []*url.URL{identityURI(cluster, kindCA, "")}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.MaxPathLenZero = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make CA key: %w", err)
	}
	return encodePair(template, template, key, key)
}

// Issue makes the certificate of one node, signed by the pair's CA. Name and kind (member or witness) are its identity: a certificate
// of a witness can't be used by a member. The cluster is the CA's.
func Issue(ca Pair, node supervisor.Node, valid time.Duration) (Pair, error) {
	if err := checkName("node", string(node.ID)); err != nil {
		return Pair{}, err
	}
	chain, err := parseCertificates(ca.Cert)
	if err != nil {
		return Pair{}, fmt.Errorf("read CA certificate: %w", err)
	}
	caCert := chain[0]
	authority, err := Identify(caCert)
	if err != nil {
		return Pair{}, fmt.Errorf("read CA certificate: %w", err)
	}
	if authority.Kind != kindCA || !caCert.IsCA {
		return Pair{}, fmt.Errorf("%s is the certificate of a node, not of a CA", authority)
	}
	caKey, err := parseKey(ca.Key)
	if err != nil {
		return Pair{}, fmt.Errorf("read CA key: %w", err)
	}
	if !caKey.PublicKey.Equal(caCert.PublicKey) {
		return Pair{}, errors.New("the CA's key does not belong to its certificate")
	}
	template, err := newTemplate(string(node.ID), valid)
	if err != nil {
		return Pair{}, err
	}
	if template.NotAfter.After(caCert.NotAfter) {
		template.NotAfter = caCert.NotAfter
	}
	template.DNSNames = []string{string(node.ID)}
	template.URIs = []*url.URL{identityURI(authority.Cluster, kindOf(node), string(node.ID))}
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make key of %s: %w", node.ID, err)
	}
	return encodePair(template, caCert, key, caKey)
}

func newTemplate(name string, valid time.Duration) (*x509.Certificate, error) {
	if valid <= 0 {
		return nil, fmt.Errorf("a certificate can't be valid for %v", valid)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: name, Organization: []string{"understudy"}},
		NotBefore:    now.Add(-backdated),
		NotAfter:     now.Add(valid),
	}, nil
}

func encodePair(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return Pair{}, fmt.Errorf("sign certificate of %s: %w", template.Subject.CommonName, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encode key of %s: %w", template.Subject.CommonName, err)
	}
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: private}),
	}, nil
}

// parseCertificates reads the certificates of a PEM file, at least one.
func parseCertificates(b []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("no PEM certificate in it")
	}
	return out, nil
}

func parseKey(b []byte) (*ecdsa.PrivateKey, error) {
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemKey {
			continue
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		if key, ok := key.(*ecdsa.PrivateKey); ok {
			return key, nil
		}
		return nil, fmt.Errorf("a %T, not an ECDSA key", key)
	}
	return nil, errors.New("no PEM private key in it")
}

// Fingerprint is the short SHA-256 fingerprint of a certificate, for comparing two of them by eye.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:8])
}
