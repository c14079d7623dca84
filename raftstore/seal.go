package raftstore

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/understudy-sip/understudy/supervisor"
)

// A lease datagram is {key id u32, counter u64, AES-256-GCM(message)}, the header being authenticated too. Keys come from the TLS
// session of a control stream, one per direction, and never leave memory; a counter is never used twice with one key.
const (
	leaseHeader = 12
	leaseSize   = leaseHeader + supervisor.MessageSize + 16
	leaseLabel  = "understudy lease"
	keyMaterial = 32 + 4 + 4 // key, start of the nonce, key id
	nonceSize   = 12
)

var (
	errLeaseSize   = errors.New("not a lease datagram")
	errLeaseForged = errors.New("lease datagram not authentic")
	errLeaseReplay = errors.New("lease datagram repeated or too old")
)

// leaseKey is one direction of one TLS session.
type leaseKey struct {
	aead cipher.AEAD
	id   uint32
	salt [4]byte
}

// exportKeys derives the keys of a session's both ends: the same two for dialer and acceptor, swapped.
func exportKeys(cs tls.ConnectionState, dialer bool) (send, receive leaseKey, err error) {
	material, err := cs.ExportKeyingMaterial(leaseLabel, nil, 2*keyMaterial)
	if err != nil {
		return leaseKey{}, leaseKey{}, fmt.Errorf("derive lease keys: %w", err)
	}
	if send, err = newLeaseKey(material[:keyMaterial]); err != nil {
		return leaseKey{}, leaseKey{}, err
	}
	if receive, err = newLeaseKey(material[keyMaterial:]); err != nil {
		return leaseKey{}, leaseKey{}, err
	}
	if !dialer {
		send, receive = receive, send
	}
	return send, receive, nil
}

func newLeaseKey(material []byte) (leaseKey, error) {
	block, err := aes.NewCipher(material[:32])
	if err != nil {
		return leaseKey{}, fmt.Errorf("derive lease keys: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return leaseKey{}, fmt.Errorf("derive lease keys: %w", err)
	}
	k := leaseKey{aead: aead, id: binary.BigEndian.Uint32(material[36:])}
	copy(k.salt[:], material[32:36])
	return k, nil
}

// sealer makes datagrams. Not for concurrent use.
type sealer struct {
	leaseKey
	counter uint64
	nonce   [nonceSize]byte
	plain   [supervisor.MessageSize]byte
	packet  [leaseSize]byte
}

// seal gives the datagram for a message. It is valid until the next call.
func (s *sealer) seal(m supervisor.Message) []byte {
	s.counter++
	head := s.packet[:leaseHeader]
	binary.BigEndian.PutUint32(head, s.id)
	binary.BigEndian.PutUint64(head[4:], s.counter)
	copy(s.nonce[:4], s.salt[:])
	copy(s.nonce[4:], head[4:])
	return s.aead.Seal(head, s.nonce[:], m.Append(s.plain[:0]), head)
}

// opener reads datagrams. Not for concurrent use.
type opener struct {
	leaseKey
	window window
	nonce  [nonceSize]byte
	plain  [supervisor.MessageSize]byte
}

// open checks a datagram that carries this key's id. Each one opens once.
func (o *opener) open(packet []byte) (supervisor.Message, error) {
	if len(packet) != leaseSize {
		return supervisor.Message{}, errLeaseSize
	}
	head := packet[:leaseHeader]
	counter := binary.BigEndian.Uint64(head[4:])
	if !o.window.fresh(counter) {
		return supervisor.Message{}, errLeaseReplay
	}
	copy(o.nonce[:4], o.salt[:])
	copy(o.nonce[4:], head[4:])
	plain, err := o.aead.Open(o.plain[:0], o.nonce[:], packet[leaseHeader:], head)
	if err != nil {
		return supervisor.Message{}, errLeaseForged
	}
	o.window.mark(counter)
	return supervisor.ParseMessage(plain)
}

// window remembers which of the newest counters were seen (RFC 6479). Its zero value has seen none; counters start at 1.
type window struct {
	newest uint64
	seen   [windowSize / 64]uint64
}

const windowSize = 1024

func (w *window) fresh(n uint64) bool {
	switch {
	case n == 0:
		return false
	case n > w.newest:
		return true
	case w.newest-n >= windowSize-64: // the oldest word may be half recycled
		return false
	}
	return w.seen[n/64%uint64(len(w.seen))]&(1<<(n%64)) == 0
}

func (w *window) mark(n uint64) {
	words := uint64(len(w.seen))
	if n > w.newest {
		for word, steps := w.newest/64+1, uint64(0); word <= n/64 && steps < words; word, steps = word+1, steps+1 {
			w.seen[word%words] = 0
		}
		w.newest = n
	}
	w.seen[n/64%words] |= 1 << (n % 64)
}
