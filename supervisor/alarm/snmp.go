package alarm

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gosnmp/gosnmp"

	"github.com/understudy-sip/understudy/supervisor"
)

// SNMP is a reaction that sends each notice as a notification of contrib/snmp/UNDERSTUDY-MIB.txt.
type SNMP struct {
	Target    string // host or host:port; the usual port is 162
	Version   string // v2c, or v3 with authentication and privacy (USM, RFC 3414)
	Community string // v2c
	User      string // v3
	Auth      string // v3: SHA, SHA-224, SHA-256 (if empty), SHA-384, SHA-512
	AuthFile  string // v3: holds the passphrase, 8 octets or more
	Priv      string // v3: AES (128 bits, if empty), AES-192, AES-256
	PrivFile  string // v3
	Base      string // OID of the MIB module; empty: DefaultBase
}

// DefaultBase is where the MIB file puts our objects: under the number that IANA keeps for examples (RFC 5612). A site that has a
// number of its own sets Base, and changes the MIB file's MODULE-IDENTITY to the same.
const DefaultBase = "1.3.6.1.4.1.32473.5060"

// exampleEnterprise is the number of DefaultBase and of engine ids.
const exampleEnterprise = 32473

var (
	authProtocols = map[string]gosnmp.SnmpV3AuthProtocol{
		"": gosnmp.SHA256, "SHA": gosnmp.SHA, "SHA-224": gosnmp.SHA224, "SHA-256": gosnmp.SHA256, "SHA-384": gosnmp.SHA384, "SHA-512": gosnmp.SHA512,
	}
	privProtocols = map[string]gosnmp.SnmpV3PrivProtocol{
		"": gosnmp.AES, "AES": gosnmp.AES, "AES-192": gosnmp.AES192, "AES-256": gosnmp.AES256,
	}
)

func (s *SNMP) validate(*Options) error {
	var errs []error
	if _, err := hostPort(s.Target, "162"); err != nil {
		errs = append(errs, fmt.Errorf("target: %w", err))
	}
	switch s.Version {
	case "v2c":
		if s.Community == "" {
			errs = append(errs, errors.New("v2c needs a community"))
		}
	case "v3":
		errs = append(errs, s.validateUser())
	default:
		errs = append(errs, fmt.Errorf("version %q: use v2c or v3", s.Version))
	}
	if s.Base != "" {
		parts := strings.Split(s.Base, ".")
		for _, p := range parts {
			if _, err := strconv.ParseUint(p, 10, 32); err != nil {
				errs = append(errs, fmt.Errorf("base %q: use numbers and dots, such as %s", s.Base, DefaultBase))
				break
			}
		}
		if len(parts) < 7 || len(parts) > 64 || !strings.HasPrefix(s.Base, "1.3.6.1.") {
			errs = append(errs, fmt.Errorf("base %q: it must begin with 1.3.6.1 and have 7 to 64 numbers", s.Base))
		}
	}
	return errors.Join(errs...)
}

func (s *SNMP) validateUser() error {
	var errs []error
	if s.User == "" || len(s.User) > 32 {
		errs = append(errs, fmt.Errorf("user %q: use 1 to 32 octets", s.User))
	}
	if _, ok := authProtocols[s.Auth]; !ok {
		errs = append(errs, fmt.Errorf("auth %q: use SHA-256, SHA-512, SHA-384, SHA-224 or SHA", s.Auth))
	}
	if _, ok := privProtocols[s.Priv]; !ok {
		errs = append(errs, fmt.Errorf("priv %q: use AES, AES-192 or AES-256", s.Priv))
	}
	for what, path := range map[string]string{"auth-file": s.AuthFile, "priv-file": s.PrivFile} {
		if _, err := passphrase(path); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	return errors.Join(errs...)
}

func passphrase(path string) (string, error) {
	if path == "" {
		return "", errors.New("give the file that holds the passphrase")
	}
	p, err := secret(path)
	if err == nil && len(p) < 8 {
		err = fmt.Errorf("%s: a passphrase has 8 octets or more (RFC 3414 section 11.2)", path)
	}
	return p, err
}

// EngineID is a node's snmpEngineID: always the same, so that a receiver can be told of its user. It is what snmptrapd.conf has after
// createUser -e, without the 0x.
func EngineID(cluster string, node supervisor.NodeID) []byte {
	id := binary.BigEndian.AppendUint32(nil, 1<<31|exampleEnterprise)
	sum := sha256.Sum256([]byte(cluster + "\x00" + string(node)))
	return append(append(id, 5), sum[:12]...) // 5: octets that the enterprise assigns (RFC 3411 section 5, SnmpEngineID)
}

// trapSender is an SNMP engine. Its boots must grow from run to run (RFC 3414 section 2.2.2), or receivers take what it says for a
// replay. Without a place to store them they are the seconds from 2020 to the start, which fit until 2088; the rest is its time.
type trapSender struct {
	s     SNMP
	o     Options
	began time.Time
	boots uint32
}

func newTrapSender(s SNMP, o Options) *trapSender {
	now := time.Now()
	epoch := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	return &trapSender{s: s, o: o, began: now, boots: uint32(min(max(1, now.Unix()-epoch.Unix()), 1<<31-2))}
}

func (t *trapSender) send(ctx context.Context, n Notice) error {
	g, err := t.session(ctx)
	if err != nil {
		return err
	}
	if err := g.Connect(); err != nil {
		return fmt.Errorf("send a trap to %s: %w", t.s.Target, err)
	}
	defer g.Close()
	if _, err := g.SendTrap(gosnmp.SnmpTrap{Variables: t.variables(n)}); err != nil {
		return fmt.Errorf("send a trap to %s: %w", t.s.Target, err)
	}
	return nil
}

func (t *trapSender) session(ctx context.Context) (*gosnmp.GoSNMP, error) {
	address, err := hostPort(t.s.Target, "162")
	if err != nil {
		return nil, permanent(err)
	}
	i := strings.LastIndexByte(address, ':')
	port, _ := strconv.ParseUint(address[i+1:], 10, 16) // hostPort has checked it
	g := &gosnmp.GoSNMP{
		Target: strings.Trim(address[:i], "[]"), Port: uint16(port), Transport: "udp", Context: ctx, Timeout: DefaultLimit,
		Version: gosnmp.Version2c, Community: t.s.Community,
	}
	if t.s.Version == "v2c" {
		return g, nil
	}
	auth, err := passphrase(t.s.AuthFile)
	if err != nil {
		return nil, err
	}
	priv, err := passphrase(t.s.PrivFile)
	if err != nil {
		return nil, err
	}
	engine := string(EngineID(t.o.Cluster, t.o.Self))
	g.Version, g.SecurityModel, g.MsgFlags, g.ContextEngineID = gosnmp.Version3, gosnmp.UserSecurityModel, gosnmp.AuthPriv, engine
	g.SecurityParameters = &gosnmp.UsmSecurityParameters{
		UserName: t.s.User, AuthoritativeEngineID: engine, AuthoritativeEngineBoots: t.boots,
		AuthoritativeEngineTime: uint32(time.Since(t.began) / time.Second),
		AuthenticationProtocol:  authProtocols[t.s.Auth], AuthenticationPassphrase: auth,
		PrivacyProtocol: privProtocols[t.s.Priv], PrivacyPassphrase: priv,
	}
	return g, nil
}

// trapText bounds texts in a trap, so that it fits into a datagram that no network splits.
const trapText = 255

// variables are the notification's, in the order of the MIB file.
func (t *trapSender) variables(n Notice) []gosnmp.SnmpPDU {
	base := t.s.Base
	if base == "" {
		base = DefaultBase
	}
	kind := ".0.1"
	if n.Event == Cleared {
		kind = ".0.2"
	}
	a := n.Alarm
	pending := 2 // TruthValue: false
	if n.Pending {
		pending = 1
	}
	list := []gosnmp.SnmpPDU{
		{Name: "1.3.6.1.2.1.1.3.0", Type: gosnmp.TimeTicks, Value: uint32(time.Since(t.began) / (10 * time.Millisecond))},
		{Name: "1.3.6.1.6.3.1.1.4.1.0", Type: gosnmp.ObjectIdentifier, Value: base + kind},
	}
	for i, value := range [...]any{
		uint32(a.ID), a.Condition, a.Object, ituSeverity(n.Perceived), a.EventID, cut(a.Text, trapText), cut(a.Evidence, trapText), string(a.Node),
		n.Cluster, dateAndTime(a.First), dateAndTime(a.Last), uint32(a.Count), string(n.Node), pending,
	} {
		v := gosnmp.SnmpPDU{Name: base + ".1." + strconv.Itoa(i+1) + ".0", Value: value, Type: gosnmp.OctetString}
		switch value.(type) {
		case uint32:
			v.Type = gosnmp.Gauge32
		case int:
			v.Type = gosnmp.Integer
		}
		list = append(list, v)
	}
	return list
}

// ituSeverity is ItuPerceivedSeverity of RFC 3877.
func ituSeverity(s supervisor.Severity) int {
	switch s {
	case supervisor.SeverityCleared:
		return 1
	case supervisor.SeverityCritical:
		return 3
	case supervisor.SeverityMajor:
		return 4
	case supervisor.SeverityMinor:
		return 5
	case supervisor.SeverityWarning:
		return 6
	default:
		return 2
	}
}

// dateAndTime is a moment in the form of RFC 2579, with the zone UTC.
func dateAndTime(at time.Time) string {
	at = at.UTC()
	b := binary.BigEndian.AppendUint16(nil, uint16(at.Year()))
	b = append(b, byte(at.Month()), byte(at.Day()), byte(at.Hour()), byte(at.Minute()), byte(at.Second()), byte(at.Nanosecond()/1e8), '+', 0, 0)
	return string(b)
}

// cut shortens s to at most n octets, between characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
