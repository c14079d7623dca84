package oos

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/understudy-sip/understudy/oos/wire"
)

var (
	testLocal  = netip.MustParseAddrPort("10.0.0.2:40000")
	testRemote = netip.MustParseAddrPort("[2001:db8::1]:5060")
)

// A strict parser that is not ours finds the probe well-formed, and every probe a transaction of its own.
func TestMessage_isWellFormed(t *testing.T) {
	m := newMessage(TCP, testLocal, testRemote)
	branches, callIDs := map[string]bool{}, map[string]bool{}
	for range 300 {
		parsed, err := sip.ParseMessage(m.next(0))
		if err != nil {
			t.Fatal(err)
		}
		req, ok := parsed.(*sip.Request)
		if !ok || req.Method != sip.OPTIONS || req.MaxForwards().Val() != 70 || req.CSeq().MethodName != sip.OPTIONS {
			t.Fatalf("got %v", parsed)
		}
		branch, _ := req.Via().Params.Get("branch")
		branches[branch], callIDs[req.CallID().Value()] = true, true
	}
	if len(branches) != 300 || len(callIDs) != 300 {
		t.Errorf("got %d branches and %d Call-IDs of 300 probes", len(branches), len(callIDs))
	}
}

// A wrong branch, Call-ID or CSeq is ignored.
func TestMessage_identify(t *testing.T) {
	m := newMessage(UDP, testLocal, testRemote)
	good := string(replyTo(m.next(0), 200))
	branch := string(m.octets[m.branch-len(magic)-len(m.token) : m.branch+seqDigits])
	callID := strings.TrimPrefix(branch, magic)
	tests := []struct {
		name string
		in   string
		want bool
	}{
		{"right", good, true},
		{"no Call-ID and CSeq", "SIP/2.0 200 OK\r\nv: x;branch=" + branch + "\r\n\r\n", true},
		{"wrong branch", strings.ReplaceAll(good, branch, "z9hG4bKffffffffffffffff00000001"), false},
		{"no magic", strings.ReplaceAll(good, magic, "abcdefg"), false},
		{"short branch", strings.ReplaceAll(good, branch, branch[:len(branch)-1]), false},
		{"no branch", strings.ReplaceAll(good, ";branch="+branch, ""), false},
		{"wrong Call-ID", strings.ReplaceAll(good, "Call-ID: "+callID, "Call-ID: x"), false},
		{"Call-ID of another probe", strings.ReplaceAll(good, "Call-ID: "+callID, "Call-ID: "+callID[:len(callID)-1]+"f"), false},
		{"wrong CSeq number", strings.ReplaceAll(good, "CSeq: 1 ", "CSeq: 2 "), false},
		{"wrong CSeq method", strings.ReplaceAll(good, "OPTIONS", "INVITE"), false},
		{"padded CSeq", strings.ReplaceAll(good, "CSeq: 1 ", "CSeq: 01\t "), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, ok := wire.ParseReply([]byte(tt.in))
			if !ok {
				t.Fatal("no response")
			}
			if _, got := m.identify(r); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestMessage_settle(t *testing.T) {
	m := newMessage(UDP, testLocal, testRemote)
	if _, ok := m.settle(1, 0); ok {
		t.Error("settled a probe before it was sent")
	}
	for i := range 2 * remembered {
		m.next(time.Duration(i) * time.Millisecond)
	}
	now := 200 * time.Millisecond
	tests := []struct {
		name string
		seq  uint32
		ok   bool
		rtt  time.Duration
	}{
		{"the last", 128, true, 73 * time.Millisecond},
		{"twice", 128, false, 0},
		{"the oldest remembered", 65, true, 136 * time.Millisecond},
		{"forgotten", 64, false, 0},
		{"never sent", 129, false, 0},
	}
	for _, tt := range tests {
		if rtt, ok := m.settle(tt.seq, now); ok != tt.ok || rtt != tt.rtt {
			t.Errorf("%s: got %v, %v, want %v, %v", tt.name, rtt, ok, tt.rtt, tt.ok)
		}
	}
}
