package main

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-sip/understudy/oos/device"
)

// Device is a service device (trunk, gateway, media server, phone) that the primary may check by OPTIONS. The options of oos-check are
// named as in Genesys SIP Server.
type Device struct {
	URI         SIPURI   `key:"uri" need:"yes"`
	Check       Duration `key:"oos-check" min:"0s" max:"5m"`
	Force       Duration `key:"oos-force" min:"0s" max:"32s"`
	Recovery    Duration `key:"recovery-timeout" min:"0s" max:"24h"`
	MaxForwards int      `key:"oos-options-max-forwards" min:"0" max:"255"`
	User        string   `key:"user" is:"line"`
	Password    string   `key:"password-file" is:"path"`
}

func (d *Device) setDefaults() {
	d.Force, d.MaxForwards = Duration(5*time.Second), 70
}

// Traffic says which SIP traffic is watched besides the SIP server's own port.
type Traffic struct {
	Ports      []int    `key:"ports" min:"1" max:"65535"`
	TLSPorts   []int    `key:"tls-ports" min:"1" max:"65535"`
	WSPorts    []int    `key:"ws-ports" min:"1" max:"65535"`
	HEP        HostPort `key:"hep"`
	Unanswered Duration `key:"unanswered-after" min:"500ms" max:"32s"`
}

// NIC says how interfaces are judged.
type NIC struct {
	DownDelay    Duration   `key:"down-delay" min:"0s" max:"1m"` // it has to lack its carrier for so long until it counts as down
	Settle       Duration   `key:"settle" min:"0s" max:"10m"`    // a flapping one has to be up for so long until it counts as up
	Gateway      netip.Addr `key:"gateway"`
	GatewayEvery Duration   `key:"gateway-every" min:"100ms" max:"1m"`
	GatewayFall  int        `key:"gateway-fall" min:"1" max:"100"`
}

// AnswerCodes are final status codes that prove a device to be in service: one, a range or a class.
type AnswerCodes string

func (a AnswerCodes) String() string { return string(a) }

func (a *AnswerCodes) parse(text string) error {
	if _, err := device.ParseAnswers(text); err != nil {
		return wrong(`write "200", "200-299" or "2xx"`, "%v", err)
	}
	*a = AnswerCodes(text)
	return nil
}

// SIPURI is where a device is asked.
type SIPURI struct {
	Scheme    string // sip or sips
	User      string
	Host      string // an address or a name
	Port      uint16 // 0: the transport's
	Transport Transport
}

func (u *SIPURI) parse(text string) error {
	const todo = `write "sip:192.0.2.50", "sip:user@gw.example.net:5060;transport=tcp", "sips:192.0.2.51"`
	scheme, rest, found := strings.Cut(text, ":")
	scheme = strings.ToLower(scheme)
	if !found || scheme != "sip" && scheme != "sips" {
		return wrong(todo, "%q is no SIP URI", text)
	}
	parsed := SIPURI{Scheme: scheme, Transport: "udp"}
	if scheme == "sips" {
		parsed.Transport = "tls"
	}
	rest, params, _ := strings.Cut(rest, ";")
	if user, host, with := strings.Cut(rest, "@"); with {
		parsed.User, rest = user, host
		if strings.Contains(user, ":") {
			return wrong("give the password by user and password-file", "the URI holds a password")
		}
	}
	if err := parsed.setHost(rest); err != nil {
		return wrong(todo, "%q: %v", text, err)
	}
	for _, p := range strings.FieldsFunc(params, func(r rune) bool { return r == ';' }) {
		name, value, _ := strings.Cut(p, "=")
		t := Transport(strings.ToLower(value))
		if !strings.EqualFold(name, "transport") || t != "udp" && t != "tcp" && t != "tls" {
			return wrong("transport=udp, tcp or tls may follow", "%q in %q means nothing here", p, text)
		}
		if scheme == "sips" && t == "udp" {
			return wrong("write sip: or leave the transport out", "sips over UDP does not exist")
		}
		if scheme == "sips" {
			t = "tls"
		}
		parsed.Transport = t
	}
	*u = parsed
	return nil
}

func (u *SIPURI) setHost(text string) error {
	if a, err := netip.ParseAddrPort(text); err == nil && a.Port() != 0 {
		u.Host, u.Port = a.Addr().String(), a.Port()
		return usable(a.Addr())
	}
	host, port, with := strings.Cut(text, ":")
	if bare, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		host, with = bare.String(), false
		if err := usable(bare); err != nil {
			return err
		}
	}
	if with {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return wrong("1 to 65535", "%q is no port", port)
		}
		u.Port = uint16(n)
	}
	if host == "" || strings.ContainsAny(host, " /?&<>\"") {
		return wrong("an address or a name", "%q is no host", host)
	}
	u.Host = host
	return nil
}

// String gives the URI as it was written.
func (u SIPURI) String() string {
	if u.Host == "" {
		return ""
	}
	host := u.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if u.Port != 0 {
		host += ":" + strconv.Itoa(int(u.Port))
	}
	if u.User != "" {
		host = u.User + "@" + host
	}
	if u.Scheme == "sips" {
		return "sips:" + host
	}
	return "sip:" + host + ";transport=" + string(u.Transport)
}
