package device

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	sec = time.Second
	ms  = time.Millisecond
)

// do is something that happens to a machine at a moment.
type do struct {
	at   time.Duration
	what string
	code int           // of an answer
	n    time.Duration // of Retry-After
}

// bench runs a machine in virtual time.
type bench struct {
	machine
	now, stopped time.Duration
	log          []string
}

// until runs the machine up to a moment, noting what it wants done and every change of state.
func (b *bench) until(end time.Duration) {
	for {
		at := max(b.next(), b.now)
		if at > end || at == never {
			b.now = end
			return
		}
		b.now = at
		was := b.state
		for a := b.due(at, b.stopped); ; a = b.due(at, b.stopped) {
			if b.state != was {
				b.note(string(b.state))
				was = b.state
			}
			if a == rest {
				break
			}
			b.note([]string{"", "ask", "repeat"}[a])
		}
	}
}

func (b *bench) note(what string) { b.log = append(b.log, fmt.Sprintf("%v %s", b.now, what)) }

func (b *bench) apply(s do) {
	b.until(s.at)
	was := b.state
	switch s.what {
	case "answer":
		if b.waiting && b.denied == 0 {
			if (Answers{}).Positive(s.code) {
				b.positive(s.at, s.code, ms, "")
			} else {
				b.negative(s.at, s.code, s.n, s.n != 0)
			}
		}
	case "1xx":
		b.provisional(s.at)
	case "refuse":
		b.refuse(s.at, "")
	case "note":
		b.noted("no route to host")
	case "unsent":
		b.unsent("network is unreachable")
	case "stop": // this process does not run until code seconds later
		b.now += time.Duration(s.code) * sec
		b.stopped += time.Duration(s.code) * sec
	case "message":
		b.overheard(s.at, Message, 0, false)
	case "register":
		b.overheard(s.at, Register, 0, false)
	case "timeout":
		b.overheard(s.at, Timeout, 0, false)
	case "unreachable":
		b.overheard(s.at, Unreachable, 0, false)
	case "503":
		b.overheard(s.at, Unavailable, s.n, s.n > 0)
	default:
		panic(s.what)
	}
	if b.state != was {
		b.note(string(b.state))
	}
}

// TestMachine goes through every row of the state machine of active detection and of the recovery-timeout machine (S4-15), in virtual time:
// oos-check 10 s, oos-force 5 s and recovery-timeout 60 s unless a row says otherwise.
func TestMachine(t *testing.T) {
	const first = "0s ask"
	tests := []struct {
		name      string
		change    func(*machine)
		steps     []do
		until     time.Duration
		log       string // what is done, comma separated
		confirmed bool
		text      string
	}{
		{"asks at once, and is in service unconfirmed", nil, nil, 100 * ms, first, false, "no answer yet"},
		{"positive: asks again oos-check after the sending", nil, []do{{100 * ms, "answer", 200, 0}}, 10 * sec, first + ",10s ask", true, "200 in 1.0ms"},
		{"positive late: at once if oos-check is over", func(m *machine) { m.check = 2 * sec; m.force = 10 * sec }, []do{{3 * sec, "answer", 404, 0}}, 3 * sec, first + ",500ms repeat,1.5s repeat,3s ask", true, "404 in 1.0ms"},
		{"silence: sent again as RFC 3261 says, out of service after oos-force, asked every oos-force", nil, nil, 11 * sec,
			first + ",500ms repeat,1.5s repeat,3.5s repeat,5s out-of-service,5s ask,5.5s repeat,6.5s repeat,8.5s repeat,10s ask,10.5s repeat", true, "no answer for 11s"},
		{"oos-force 0 is 5 s", func(m *machine) { m.force = DefaultForce }, nil, 5*sec - ms, first + ",500ms repeat,1.5s repeat,3.5s repeat", false, "no answer yet"},
		{"the longest wait: 4 s between sendings", func(m *machine) { m.force = 32 * sec }, nil, 31 * sec,
			first + ",500ms repeat,1.5s repeat,3.5s repeat,7.5s repeat,11.5s repeat,15.5s repeat,19.5s repeat,23.5s repeat,27.5s repeat", false, "no answer yet"},
		{"1xx is no answer, and slows down the sending", nil, []do{{100 * ms, "1xx", 0, 0}}, 5 * sec, first + ",4.1s repeat,5s out-of-service,5s ask", true, "no answer for 5s"},
		{"408 is no answer", nil, []do{{100 * ms, "answer", 408, 0}}, 5 * sec, first + ",5s out-of-service,5s ask", true, "408"},
		{"504 is no answer", nil, []do{{100 * ms, "answer", 504, 0}}, 5 * sec, first + ",5s out-of-service,5s ask", true, "504"},
		{"503 is no answer", nil, []do{{100 * ms, "answer", 503, 0}}, 5 * sec, first + ",5s out-of-service,5s ask", true, "503"},
		{"503 with Retry-After: at once, and asked on", nil, []do{{100 * ms, "answer", 503, 30 * sec}}, 5 * sec, first + ",100ms out-of-service,5s ask", true, "503, retry after 30s"},
		{"Retry-After is bounded", nil, []do{{100 * ms, "answer", 503, 4000 * sec}}, 1 * sec, first + ",100ms out-of-service", true, "503, retry after 5m0s"},
		{"Retry-After: a positive answer ends it", nil, []do{{100 * ms, "answer", 503, 30 * sec}, {5100 * ms, "answer", 200, 0}}, 6 * sec, first + ",100ms out-of-service,5s ask,5.1s in-service", true, "200 in 1.0ms"},
		{"Retry-After: a REGISTER does not", nil, []do{{100 * ms, "answer", 503, 30 * sec}, {200 * ms, "register", 0, 0}}, 1 * sec, first + ",100ms out-of-service", true, "503, retry after 30s"},
		{"Retry-After is over: a REGISTER does", nil, []do{{100 * ms, "answer", 503, 1 * sec}, {1200 * ms, "register", 0, 0}}, 2 * sec, first + ",100ms out-of-service,1.2s in-service", true, "registered"},
		{"back: asks oos-check after the answer", nil, []do{{5100 * ms, "answer", 200, 0}}, 15100 * ms,
			first + ",500ms repeat,1.5s repeat,3.5s repeat,5s out-of-service,5s ask,5.1s in-service,15.1s ask", true, "200 in 1.0ms"},
		{"back by a REGISTER: asks oos-check after it", nil, []do{{5100 * ms, "register", 0, 0}}, 15100 * ms,
			first + ",500ms repeat,1.5s repeat,3.5s repeat,5s out-of-service,5s ask,5.1s in-service,15.1s ask", true, "registered"},
		{"any message is not enough for a device out of service", nil, []do{{5100 * ms, "message", 0, 0}}, 5200 * ms,
			first + ",500ms repeat,1.5s repeat,3.5s repeat,5s out-of-service,5s ask", true, "no answer for 5.2s"},
		{"a REGISTER is no answer to a probe under way", nil, []do{{100 * ms, "register", 0, 0}}, 5 * sec,
			first + ",500ms repeat,1.5s repeat,3.5s repeat,5s out-of-service,5s ask", true, "no answer for 5s"},
		{"refused: out of service at once", nil, []do{{1 * ms, "refuse", 0, 0}}, 5 * sec, first + ",1ms out-of-service,5s ask", true, "refused"},
		{"refused, then silent", nil, []do{{1 * ms, "refuse", 0, 0}}, 10 * sec, first + ",1ms out-of-service,5s ask,5.5s repeat,6.5s repeat,8.5s repeat,10s ask", true, "no answer for 5s"},
		{"silent, then refused", nil, []do{{5001 * ms, "refuse", 0, 0}}, 6 * sec,
			first + ",500ms repeat,1.5s repeat,3.5s repeat,5s out-of-service,5s ask", true, "refused"},
		{"refused without fast-fail: the timer decides", func(m *machine) { m.fastFail = false }, []do{{1 * ms, "refuse", 0, 0}}, 5 * sec,
			first + ",500ms repeat,1.5s repeat,3.5s repeat,5s out-of-service,5s ask", true, "refused"},
		{"unreachable is no refusal", nil, []do{{1 * ms, "note", 0, 0}}, 5 * sec,
			first + ",500ms repeat,1.5s repeat,3.5s repeat,5s out-of-service,5s ask", true, "no answer for 5s: no route to host"},
		{"cannot be asked from here: the timer decides", nil, []do{{0, "unsent", 0, 0}, {500 * ms, "unsent", 0, 0}, {1500 * ms, "unsent", 0, 0}, {3500 * ms, "unsent", 0, 0}}, 5 * sec,
			first + ",500ms repeat,1.5s repeat,3.5s repeat,5s out-of-service,5s ask", true, "cannot ask: network is unreachable"},
		{"this process did not run: what it did not hear proves nothing", nil, []do{{1 * sec, "stop", 8, 0}}, 14*sec - ms,
			first + ",500ms repeat,9s repeat,11s repeat", false, "no answer yet"},
		{"this process did not run, and then silence", nil, []do{{1 * sec, "stop", 8, 0}}, 14 * sec,
			first + ",500ms repeat,9s repeat,11s repeat,14s out-of-service,14s ask", true, "no answer for 14s"},

		{"oos-check 0: never asks", unmonitored, nil, 1000 * sec, "", false, "not probed"},
		{"INVITE timed out: failed for recovery-timeout", unmonitored, []do{{1 * sec, "timeout", 0, 0}}, 61 * sec, "1s failed,1m1s in-service", false, "recovery-timeout is over"},
		{"INVITE timed out", unmonitored, []do{{1 * sec, "timeout", 0, 0}}, 60 * sec, "1s failed", true, "INVITE timed out"},
		{"a request could not be sent", unmonitored, []do{{1 * sec, "unreachable", 0, 0}}, 60 * sec, "1s failed", true, "request could not be sent"},
		{"503: failed for recovery-timeout", unmonitored, []do{{1 * sec, "503", 0, 0}}, 61 * sec, "1s failed,1m1s in-service", false, "recovery-timeout is over"},
		{"503 with Retry-After: failed for that", unmonitored, []do{{1 * sec, "503", 0, 600 * sec}}, 601 * sec, "1s failed,10m1s in-service", false, "recovery-timeout is over"},
		{"503 with Retry-After", unmonitored, []do{{1 * sec, "503", 0, 600 * sec}}, 2 * sec, "1s failed", true, "503 to a request, retry after 10m0s"},
		{"failed: any message revives", unmonitored, []do{{1 * sec, "timeout", 0, 0}, {2 * sec, "message", 0, 0}}, 70 * sec, "1s failed,2s in-service", true, "heard of"},
		{"failed: a REGISTER revives", unmonitored, []do{{1 * sec, "timeout", 0, 0}, {2 * sec, "register", 0, 0}}, 70 * sec, "1s failed,2s in-service", true, "registered"},
		{"failed again in the meantime: the first counts", unmonitored, []do{{1 * sec, "timeout", 0, 0}, {30 * sec, "timeout", 0, 0}}, 61 * sec, "1s failed,1m1s in-service", false, "recovery-timeout is over"},
		{"recovery-timeout 0: never fails", func(m *machine) { unmonitored(m); m.recovery = 0 },
			[]do{{1 * sec, "timeout", 0, 0}, {2 * sec, "unreachable", 0, 0}, {3 * sec, "503", 0, 0}, {4 * sec, "503", 0, 9 * sec}}, 5 * sec, "", false, "not probed"},
		{"failed and probed: a positive probe revives", nil, []do{{100 * ms, "answer", 200, 0}, {1 * sec, "timeout", 0, 0}, {10001 * ms, "answer", 200, 0}}, 11 * sec,
			first + ",1s failed,10s ask,10.001s in-service", true, "200 in 1.0ms"},
		{"failed and probed: silence puts it out of service", nil, []do{{100 * ms, "answer", 200, 0}, {1 * sec, "timeout", 0, 0}}, 61 * sec,
			first + ",1s failed,10s ask,10.5s repeat,11.5s repeat,13.5s repeat,15s out-of-service,15s ask*", true, "no answer for 51s"},
		{"probed, 503 with Retry-After to a request: out of service now", nil, []do{{100 * ms, "answer", 200, 0}, {1 * sec, "503", 0, 30 * sec}, {6100 * ms, "answer", 200, 0}}, 17 * sec,
			first + ",1s out-of-service,6s ask,6.1s in-service,16.1s ask,16.6s repeat", true, "200 in 1.0ms"},
		{"probed, 503 with Retry-After to a request while a probe is under way", nil, []do{{100 * ms, "503", 0, 30 * sec}, {200 * ms, "answer", 200, 0}}, 10 * sec,
			first + ",100ms out-of-service,200ms in-service", true, "200 in 1.0ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := &bench{machine: machine{check: 10 * sec, force: 5 * sec, recovery: 60 * sec, fastFail: true}}
			if tt.change != nil {
				tt.change(&b.machine)
			}
			b.begin(0, 0, 0)
			for _, s := range tt.steps {
				b.apply(s)
			}
			b.until(tt.until)
			got := strings.Join(b.log, ",")
			if want, open := strings.CutSuffix(tt.log, "*"); got != want && !(open && strings.HasPrefix(got, want)) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if text := b.text(b.now); b.confirmed != tt.confirmed || text != tt.text {
				t.Errorf("got confirmed %v, %q, want %v, %q", b.confirmed, text, tt.confirmed, tt.text)
			}
		})
	}
}

func unmonitored(m *machine) { m.check = 0 }

// A device that dies is out of service at most oos-check and oos-force after its last answer, whenever it dies (S4-18).
func TestMachine_bound(t *testing.T) {
	for dies := time.Duration(0); dies <= 30*sec; dies += 371 * ms {
		b := &bench{machine: machine{check: 10 * sec, force: 3 * sec}}
		b.begin(0, 0, 0)
		for b.state == InService && b.now < 100*sec {
			at := b.next()
			b.until(at)
			if b.waiting && b.now < dies {
				b.positive(b.now, 200, 0, "")
			}
		}
		if dies > 0 && b.now-dies > 13*sec {
			t.Errorf("died at %v, out of service at %v", dies, b.now)
		}
	}
}

// One delay of many does not bind them together: each goes on in its own step.
func TestMachine_keepsStep(t *testing.T) {
	b := &bench{machine: machine{check: 10 * sec, force: 5 * sec}}
	b.begin(0, 100*ms, 0)
	b.due(900*ms, 0)
	if b.deadline != 5900*ms {
		t.Errorf("the wait ends at %v, want 5.9s", b.deadline)
	}
	b.positive(1100*ms, 200, 0, "")
	if b.sendAt != 10100*ms {
		t.Errorf("the next is sent at %v, want 10.1s", b.sendAt)
	}
	b.due(45*sec, 0) // this process did not run for long
	b.positive(46*sec, 200, 0, "")
	if b.sendAt != 50100*ms {
		t.Errorf("after a stall the next is sent at %v, want 50.1s", b.sendAt)
	}
}

// Many devices are asked soon, never later than oos-check after that, and evenly from then on.
func TestSpread(t *testing.T) {
	const n, check = 1000, 20 * sec
	for i := range n {
		first, early := spread(i, n, check)
		if second := first + check - early; first < 0 || first > sec || early < 0 || second > check || second < first {
			t.Fatalf("%d: first %v, second %v", i, first, second)
		}
	}
	for i := range 10 {
		if first, early := spread(i, 10, 5*sec); first != time.Duration(i)*50*ms || early != 0 {
			t.Errorf("%d of few: first %v, early %v", i, first, early)
		}
	}
}
