package raftstore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/understudy-sip/understudy/supervisor"
)

// protocol is the version of what is spoken inside the streams. Nodes of different versions refuse each other and say so.
const protocol = 1

// maxFrame bounds one message on a control stream.
const maxFrame = 1 << 20

// frame is one message of a control stream: a 32-bit big-endian length, then JSON. One of its parts is set; a frame with none of them
// that this version knows is ignored.
type frame struct {
	Hello   *hello             `json:"hello,omitempty"`  // first, both ways
	Refuse  string             `json:"refuse,omitempty"` // instead: why this stream is closed
	Ready   bool               `json:"ready,omitempty"`  // dialer: the keys for lease messages are in place
	Ping    uint64             `json:"ping,omitempty"`   // sender's clock, repeated in Pong
	Pong    uint64             `json:"pong,omitempty"`
	Clock   int64              `json:"clock,omitempty"` // with Pong: the answerer's wall clock, nanoseconds since 1970
	Report  *supervisor.Report `json:"report,omitempty"`
	Request *request           `json:"request,omitempty"`
	Answer  *answer            `json:"answer,omitempty"`
}

// hello tells who speaks. The node is named by the certificate too; boot tells one run of its process from the next.
type hello struct {
	Cluster    string            `json:"cluster"`
	Node       supervisor.NodeID `json:"node"`
	Boot       uint64            `json:"boot"`
	Version    string            `json:"version"`
	Protocol   int               `json:"protocol"`
	ConfigHash string            `json:"config_hash"`
}

// request asks the other node for something. Exactly one part is set.
type request struct {
	ID       uint64            `json:"id"`
	Propose  *supervisor.Entry `json:"propose,omitempty"`  // commit this: you lead Raft
	Sync     bool              `json:"sync,omitempty"`     // up to where is the log committed, now?
	Standing bool              `json:"standing,omitempty"` // how far is your own state to be trusted?
}

// answer answers the request with the same ID on the same stream.
type answer struct {
	ID       uint64     `json:"id"`
	Code     string     `json:"code,omitempty"` // name of an error, empty for none
	Text     string     `json:"text,omitempty"`
	Sync     *syncPoint `json:"sync,omitempty"`
	Standing *standing  `json:"standing,omitempty"`
}

var errFrame = errors.New("malformed message")

// readFrame reads one frame, and no octet more.
func readFrame(r io.Reader) (frame, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return frame{}, fmt.Errorf("%w: %d octets, at most %d", errFrame, n, maxFrame)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return frame{}, fmt.Errorf("%w: %w", errFrame, err)
	}
	var f frame
	if err := json.Unmarshal(b, &f); err != nil {
		return frame{}, fmt.Errorf("%w: %w", errFrame, err)
	}
	return f, nil
}

func encodeFrame(f frame) ([]byte, error) {
	b, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	if len(b) > maxFrame {
		return nil, fmt.Errorf("encode message: %d octets, at most %d", len(b), maxFrame)
	}
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, len(b)+4), uint32(len(b))), b...), nil
}

func writeFrame(c io.Writer, f frame) error {
	b, err := encodeFrame(f)
	if err != nil {
		return err
	}
	_, err = c.Write(b)
	return err
}

// refusedError is what the other side said when it closed the stream.
type refusedError struct{ why string }

func (e *refusedError) Error() string { return "refused by the other side: " + e.why }

// expectHello reads the first frame of a stream.
func expectHello(c io.Reader) (hello, error) {
	f, err := readFrame(c)
	switch {
	case err != nil:
		return hello{}, fmt.Errorf("read hello: %w", err)
	case f.Refuse != "":
		return hello{}, &refusedError{f.Refuse}
	case f.Hello == nil:
		return hello{}, fmt.Errorf("read hello: %w", errFrame)
	}
	return *f.Hello, nil
}
