package traffic

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Nothing is allocated for a message on its way from the ring to the counts, over UDP and TCP, requests and responses.
func TestMonitor_allocatesNothing(t *testing.T) {
	m, err := New(standardForFuzz())
	if err != nil {
		t.Fatal(err)
	}
	c := newCapture(wire, filter{}, m.take, m.missed)
	datagram := ip(there, here, unix.IPPROTO_UDP, nil, udp(5060, 5060, request("INVITE", "a", 1)))
	answer := ip(here, there, unix.IPPROTO_UDP, nil, udp(5060, 5060, response(200, "INVITE", "a", 1)))
	text := request("REGISTER", "b", 1)
	segment := ip(there, here, unix.IPPROTO_TCP, nil, tcp(40000, 5060, 0, 0x18, text))
	seq := uint32(1)
	var f frame
	send := func(b []byte, direction uint8) {
		f = frame{data: b, protocol: unix.ETH_P_IP, direction: direction}
		c.take(&f, sec)
	}
	if n := testing.AllocsPerRun(1000, func() {
		send(datagram, unix.PACKET_HOST)
		send(answer, unix.PACKET_OUTGOING)
		binary.BigEndian.PutUint32(segment[24:], seq)
		send(segment, unix.PACKET_HOST)
		seq += uint32(len(text))
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
	if s := m.Snapshot(); s.In.Requests[invite] != 1001 || s.In.Requests[5] != 1001 || s.Out.Responses[1] != 1001 || s.AnsweredAll != 1 {
		t.Errorf("got %+v", s)
	}
}

// A packet's time is that of its arrival, by the raw clock; a step of the wall clock counts as no time at all.
func TestCapture_moment(t *testing.T) {
	c := capture{now: time.Hour, wall: 1e18}
	for name, x := range map[string]struct{ age, want time.Duration }{
		"now":             {0, time.Hour},
		"a while ago":     {300 * time.Millisecond, time.Hour - 300*time.Millisecond},
		"in the future":   {-time.Second, time.Hour},
		"long ago":        {time.Minute, time.Hour},
		"as long as ever": {maxAge, time.Hour - maxAge},
	} {
		if got := c.moment(c.wall - int64(x.age)); got != x.want {
			t.Errorf("%s: got %v, want %v", name, got, x.want)
		}
	}
}

// A ring is read in order and round about, whatever is in it: a packet that did not fit is told, offsets that lead nowhere end a block.
func TestRing(t *testing.T) {
	const size = 4096
	r := ring{mem: make([]byte, 2*size), block: size}
	put := func(block int, status uint32, texts ...string) {
		b := r.mem[block*size : (block+1)*size]
		clear(b)
		binary.NativeEndian.PutUint32(b[8:], status)
		binary.NativeEndian.PutUint32(b[12:], uint32(len(texts)))
		binary.NativeEndian.PutUint32(b[16:], blockHeader)
		at := blockHeader
		for _, text := range texts {
			h := b[at:]
			binary.NativeEndian.PutUint32(h[0:], 256)
			binary.NativeEndian.PutUint32(h[4:], 7)
			binary.NativeEndian.PutUint32(h[12:], uint32(len(text)))
			binary.NativeEndian.PutUint32(h[16:], uint32(len(text)+strings.Count(text, "!")))
			binary.NativeEndian.PutUint16(h[24:], 96)
			binary.BigEndian.PutUint16(h[frameHeader+2:], unix.ETH_P_IP)
			h[frameHeader+10] = unix.PACKET_OUTGOING
			copy(h[96:], text)
			at += 256
		}
	}
	var got []string
	visit := func(f *frame) {
		text := string(f.data)
		if f.cut {
			text += " cut"
		}
		if f.at != 7e9 || f.protocol != unix.ETH_P_IP || f.direction != unix.PACKET_OUTGOING {
			text += " wrong"
		}
		got = append(got, text)
	}
	put(0, unix.TP_STATUS_USER, "one", "two!")
	put(1, unix.TP_STATUS_KERNEL, "not yet")
	ok, losing := r.read(visit)
	again, _ := r.read(visit)
	if !ok || losing || again {
		t.Errorf("first block: got %v, losing %v, another %v", ok, losing, again)
	}
	put(1, unix.TP_STATUS_USER|unix.TP_STATUS_LOSING, "three")
	if ok, losing = r.read(visit); !ok || !losing {
		t.Errorf("second block: got %v, losing %v", ok, losing)
	}
	if again, _ = r.read(visit); again {
		t.Error("the first block was not given back")
	}
	put(0, unix.TP_STATUS_USER, "four", "nowhere")
	binary.NativeEndian.PutUint32(r.mem[blockHeader:], 1<<30)
	if ok, _ = r.read(visit); !ok {
		t.Error("a block with a bad offset is not given back")
	}
	if want := "one, two! cut, three, four"; strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
