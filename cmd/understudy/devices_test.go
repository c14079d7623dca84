package main

import (
	"errors"
	"strings"
	"testing"
)

// sip-pass-check without a device that is checked would never do anything: S4-14. Devices are refused with what to write instead.
func TestDevices_config(t *testing.T) {
	for name, c := range map[string]struct{ more, want string }{
		"no device":         {"sip-pass-check: true\n", "it needs a service device that is checked"},
		"none checked":      {"sip-pass-check: true\ndevices: {t: {uri: \"sip:192.0.2.50\"}}\n", "it needs a service device that is checked"},
		"checked":           {"sip-pass-check: true\ndevices: {t: {uri: \"sip:192.0.2.50\", oos-check: 10}}\n", ""},
		"no URI":            {"devices: {t: {oos-check: 10}}\n", "devices.t.uri"},
		"no SIP URI":        {"devices: {t: {uri: \"192.0.2.50\"}}\n", "is no SIP URI"},
		"sips over UDP":     {"devices: {t: {uri: \"sips:192.0.2.50;transport=udp\"}}\n", "sips over UDP does not exist"},
		"password in URI":   {"devices: {t: {uri: \"sip:a:b@192.0.2.50\"}}\n", "holds a password"},
		"half a login":      {"devices: {t: {uri: \"sip:192.0.2.50\", user: u}}\n", "belong together"},
		"too often":         {"devices: {t: {uri: \"sip:192.0.2.50\", oos-check: 10m}}\n", "out of range"},
		"answers":           {"oos-answers: [2xx, 404, 480-489]\n", ""},
		"no such answers":   {"oos-answers: [1xx]\n", "neither a final status code"},
		"a port twice":      {"traffic: {ports: [5070], tls-ports: [5070]}\n", "traffic"},
		"too patient":       {"traffic: {unanswered-after: 40s}\n", "out of range"},
		"its own gateway":   {"nic: {gateway: 192.0.2.11}\n", "nic: at edge-a"},
		"unknown reaction":  {"alarms: {default: [noc]}\n", "there is no reaction \"noc\""},
		"webhook, no URL":   {"alarms: {reactions: {noc: {kind: webhook}}}\n", "alarms.reactions.noc"},
		"a good reaction":   {"alarms: {default: [noc], reactions: {noc: {kind: webhook, url: \"https://noc.example/hook\"}}}\n", ""},
		"unknown kind":      {"alarms: {reactions: {noc: {kind: pigeon}}}\n", "none of exec"},
		"a condition alone": {"alarms: {conditions: {mine: {severity: major, detect: mine}}}\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig("u.yaml", minimal+c.more, host("edge-a"))
			var p Problems
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want none", err)
			case c.want != "" && (!errors.As(err, &p) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A URI is shown as it would be written.
func TestSIPURI(t *testing.T) {
	for in, want := range map[string]string{
		"sip:192.0.2.50":                       "sip:192.0.2.50;transport=udp",
		"sip:trunk@gw.example.net:5070":        "sip:trunk@gw.example.net:5070;transport=udp",
		"SIP:[2001:db8::5]:5060;transport=TCP": "sip:[2001:db8::5]:5060;transport=tcp",
		"sips:192.0.2.50":                      "sips:192.0.2.50",
		"sip:192.0.2.50;transport=tls":         "sip:192.0.2.50;transport=tls",
		"sip:[2001:db8::5]":                    "sip:[2001:db8::5];transport=udp",
	} {
		var u SIPURI
		if err := u.parse(in); err != nil || u.String() != want {
			t.Errorf("%s: got %s, %v, want %s", in, u, err, want)
		}
	}
	for _, bad := range []string{"", "sip:", "sip:;transport=udp", "tel:123", "sip:a b", "sip:192.0.2.50:0", "sip:192.0.2.50:99999", "sip:0.0.0.0", "sip:h;lr", "sip:192.0.2.50;transport=ws"} {
		var u SIPURI
		if err := u.parse(bad); err == nil {
			t.Errorf("%q was taken for %s", bad, u)
		}
	}
}
