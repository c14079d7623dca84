package alarm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

// Syslog is a reaction that writes each notice as an RFC 5424 message, with the structured data "alarm" of RFC 5674 and one of ours.
type Syslog struct {
	Network  string // unix, udp, tcp (octet counting, RFC 6587) or tls (RFC 5425)
	Address  string // host or host:port; unix: a path, empty for /dev/log. Ports: udp 514, tcp 601, tls 6514
	Facility int    // 0 to 23; 3 is daemon, 16 local0
	CAFile   string // tls only, optional: PEM certificates to believe in instead of the system's
}

var syslogPorts = map[string]string{"udp": "514", "tcp": "601", "tls": "6514"}

func (s *Syslog) validate(*Options) error {
	var errs []error
	switch {
	case s.Network == "unix":
		if s.Address != "" && !strings.HasPrefix(s.Address, "/") {
			errs = append(errs, fmt.Errorf("address %q: give the socket's absolute path", s.Address))
		}
	case syslogPorts[s.Network] != "":
		if _, err := hostPort(s.Address, syslogPorts[s.Network]); err != nil {
			errs = append(errs, err)
		}
	default:
		errs = append(errs, fmt.Errorf("network %q: use unix, udp, tcp or tls", s.Network))
	}
	if s.Facility < 0 || s.Facility > 23 {
		errs = append(errs, fmt.Errorf("facility %d: use 0 to 23", s.Facility))
	}
	if s.CAFile != "" {
		_, err := certificates(s.CAFile)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// hostPort adds the usual port to an address that names none.
func hostPort(address, port string) (string, error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		host, p = strings.Trim(address, "[]"), port
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", fmt.Errorf("address %q: %w", address, err)
		}
	}
	if n, err := strconv.Atoi(p); host == "" || err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("address %q: give a host, or host:port", address)
	}
	return net.JoinHostPort(host, p), nil
}

// syslogSender keeps its connection.
type syslogSender struct {
	s    Syslog
	o    Options
	host string
	conn net.Conn
}

func newSyslogSender(s Syslog, o Options) *syslogSender {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = string(o.Self)
	}
	return &syslogSender{s: s, o: o, host: host}
}

func (s *syslogSender) send(ctx context.Context, n Notice) error {
	text := s.message(n)
	kept := s.conn != nil
	err := s.write(ctx, text)
	if err != nil && kept && ctx.Err() == nil { // the other end went away while nothing was said
		err = s.write(ctx, text)
	}
	return err
}

func (s *syslogSender) write(ctx context.Context, text []byte) error {
	if s.conn == nil {
		conn, err := s.dial(ctx)
		if err != nil {
			return err
		}
		s.conn = conn
	}
	conn := s.conn
	_ = conn.SetWriteDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	if s.s.Network == "tcp" || s.s.Network == "tls" {
		text = append([]byte(strconv.Itoa(len(text))+" "), text...)
		if closed(conn) {
			conn.Close()
			s.conn = nil
			return errors.New("the syslog server has closed the connection")
		}
	}
	if _, err := conn.Write(text); err != nil {
		conn.Close()
		s.conn = nil
		return fmt.Errorf("write to syslog: %w", err)
	}
	return nil
}

// closed reports whether a peer that never says anything has hung up. A write would find out only with the one after it.
func closed(c net.Conn) bool {
	if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return true
	}
	var one [1]byte
	_, err := c.Read(one[:])
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func (s *syslogSender) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	if s.s.Network == "unix" {
		path := s.s.Address
		if path == "" {
			path = "/dev/log"
		}
		return d.DialContext(ctx, "unixgram", path)
	}
	address, err := hostPort(s.s.Address, syslogPorts[s.s.Network])
	if err != nil {
		return nil, permanent(err)
	}
	if s.s.Network == "tls" {
		t := tls.Dialer{NetDialer: &d, Config: tlsConfig(s.s.CAFile)}
		return t.DialContext(ctx, "tcp", address)
	}
	return d.DialContext(ctx, s.s.Network, address)
}

// syslogSeverity is the mapping of RFC 5674 section 2.
func syslogSeverity(s supervisor.Severity) int {
	switch s {
	case supervisor.SeverityCritical:
		return 1
	case supervisor.SeverityMajor:
		return 2
	case supervisor.SeverityMinor:
		return 3
	case supervisor.SeverityWarning:
		return 4
	default:
		return 5
	}
}

func (s *syslogSender) message(n Notice) []byte {
	a := n.Alarm
	var b strings.Builder
	fmt.Fprintf(&b, "<%d>1 %s %s understudy %d %s ", s.s.Facility*8+syslogSeverity(n.Perceived), n.At.UTC().Format("2006-01-02T15:04:05.000Z"),
		word(s.host, 255), os.Getpid(), word(a.Condition, 32))
	data(&b, "alarm", "resource", a.Object, "probableCause", "other", "perceivedSeverity", string(n.Perceived))
	data(&b, "understudy@32473", "event", n.Event, "condition", a.Condition, "id", strconv.FormatUint(a.ID, 10), "eventId", a.EventID,
		"node", string(a.Node), "cluster", n.Cluster, "evidence", a.Evidence)
	b.WriteString(" \xef\xbb\xbf" + n.Why) // the mark says that UTF-8 follows
	return []byte(b.String())
}

// word is a header field: printable, without spaces, never empty.
func word(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < '!' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), limit)]
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`)

// data writes one element of structured data; parameters that are empty are left out.
func data(b *strings.Builder, id string, params ...string) {
	b.WriteString("[" + id)
	for pair := range slices.Chunk(params, 2) {
		if pair[1] != "" {
			b.WriteString(" " + pair[0] + `="` + escape.Replace(pair[1]) + `"`)
		}
	}
	b.WriteString("]")
}
