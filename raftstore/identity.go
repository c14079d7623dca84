package raftstore

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

const (
	kindMember  = "member"
	kindWitness = "witness"
	kindCA      = "ca"
	uriScheme   = "understudy"
)

// Identity is whom a certificate names. Cluster and kind are part of it: a certificate of another cluster, or of the same name but
// another kind, is another identity.
type Identity struct {
	Cluster  string
	Kind     string // "member", "witness" or "ca"
	Name     string // the node's, empty for a CA
	NotAfter time.Time

	notBefore time.Time
}

// String is the identity as its URI: understudy://CLUSTER/member/NAME.
func (i Identity) String() string { return identityURI(i.Cluster, i.Kind, i.Name).String() }

func kindOf(n supervisor.Node) string {
	if n.Witness {
		return kindWitness
	}
	return kindMember
}

func identityURI(cluster, kind, name string) *url.URL {
	path := "/" + kind
	if name != "" {
		path += "/" + name
	}
	return &url.URL{Scheme: uriScheme, Host: cluster, Path: path}
}

var validName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// checkName holds names of clusters and nodes to what fits a DNS label: they stand in certificates.
func checkName(what, name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%s name %q: 1 to 63 letters, digits and hyphens, no hyphen at either end", what, name)
	}
	return nil
}

// Identify reads whom a certificate names. It says nothing about who signed it.
func Identify(c *x509.Certificate) (Identity, error) {
	var found *url.URL
	for _, u := range c.URIs {
		if u.Scheme != uriScheme {
			continue
		}
		if found != nil {
			return Identity{}, fmt.Errorf("certificate %q names two identities, %s and %s", c.Subject.CommonName, found, u)
		}
		found = u
	}
	if found == nil {
		return Identity{}, fmt.Errorf("certificate %q has no understudy:// name: it was not made by understudy pki", c.Subject.CommonName)
	}
	parts := strings.Split(strings.TrimPrefix(found.Path, "/"), "/")
	id := Identity{Cluster: found.Host, Kind: parts[0], notBefore: c.NotBefore, NotAfter: c.NotAfter}
	switch {
	case id.Kind == kindCA && len(parts) == 1:
		return id, nil
	case (id.Kind == kindMember || id.Kind == kindWitness) && len(parts) == 2:
		id.Name = parts[1]
	default:
		return Identity{}, fmt.Errorf("certificate %q has the unknown name %s", c.Subject.CommonName, found)
	}
	if len(c.DNSNames) != 1 || c.DNSNames[0] != id.Name {
		return Identity{}, fmt.Errorf("certificate %q is for the DNS names %q, its identity %s needs just %q", c.Subject.CommonName, c.DNSNames, found, id.Name)
	}
	return id, nil
}

// roster is who may talk to this node.
type roster struct {
	cluster string
	self    supervisor.NodeID
	nodes   map[supervisor.NodeID]Node
}

// admit checks an identity whose certificate our CA has signed: is it one of the other nodes of this cluster, of the kind that the
// configuration says, and not expired? want is the node that was dialed, empty for whoever called. The error is a sentence for the
// operators of both sides: what was expected and what to do.
func (r roster) admit(id Identity, want supervisor.NodeID, now time.Time) (Node, error) {
	const issue = "make one with 'understudy pki issue' and restart nothing: it is read at the next connection"
	if id.Cluster != r.cluster {
		return Node{}, fmt.Errorf("certificate %s is of cluster %q, this is cluster %q: the two clusters must not share addresses, or the node needs a certificate of its own cluster", id, id.Cluster, r.cluster)
	}
	name := supervisor.NodeID(id.Name)
	switch {
	case id.Kind == kindCA:
		return Node{}, fmt.Errorf("certificate %s is the CA's, a node's is needed: %s", id, issue)
	case name == r.self:
		return Node{}, fmt.Errorf("certificate %s names %q, which is the very node it talks to: two hosts have one name, give each its own node name and certificate", id, name)
	}
	node, known := r.nodes[name]
	if !known {
		return Node{}, fmt.Errorf("certificate %s names %q, the nodes of the configuration are %s: correct the nodes or the certificate", id, name, r.names())
	}
	if want != "" && want != name {
		return Node{}, fmt.Errorf("certificate %s answered at the address of %q: correct the address of %q in the configuration, or that host's certificate", id, want, want)
	}
	if kind := kindOf(node.Node); kind != id.Kind {
		return Node{}, fmt.Errorf("certificate %s is a %s's, the configuration has %q as %s: %s", id, id.Kind, name, kind, issue)
	}
	if now.After(id.NotAfter) {
		return Node{}, fmt.Errorf("certificate %s expired on %s: %s", id, id.NotAfter.Format(time.RFC3339), issue)
	}
	if now.Before(id.notBefore) {
		return Node{}, fmt.Errorf("certificate %s is valid from %s on, it is %s here: check the clocks of both hosts", id, id.notBefore.Format(time.RFC3339), now.Format(time.RFC3339))
	}
	return node, nil
}

func (r roster) names() string {
	return joinNames(sortedIDs(r.nodes))
}
