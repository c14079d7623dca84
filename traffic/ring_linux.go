package traffic

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is memory that a packet socket shares with the kernel, TPACKET_V3: the kernel fills blocks with packets and hands each over when
// it is full or old enough (Documentation/networking/packet_mmap.rst, linux/if_packet.h).
type ring struct {
	mem   []byte
	block int // size of one
	next  int // offset of the one that is handed over next
}

// ringSize says how much a ring holds. Each block that is handed over while packets keep coming costs a wake-up, so blocks live long; and
// a block is used up however little is in it, so there are many: they last for blocks*life while nobody reads.
type ringSize struct {
	block, blocks int
	life          int // after so many milliseconds a block is handed over, full or not
}

// A block has to hold a super-packet of 64 KB.
var (
	networkRing  = ringSize{block: 128 << 10, blocks: 64, life: 10}
	loopbackRing = ringSize{block: 128 << 10, blocks: 16, life: 40}
)

// openRing makes and maps the ring of a packet socket.
func openRing(fd int, size ringSize) (ring, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return ring{}, fmt.Errorf("choose TPACKET_V3: %w", err)
	}
	const frame = 2048 // only the kernel's arithmetic needs it
	request := unix.TpacketReq3{
		Block_size: uint32(size.block), Block_nr: uint32(size.blocks),
		Frame_size: frame, Frame_nr: uint32(size.block / frame * size.blocks), Retire_blk_tov: uint32(size.life),
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &request); err != nil {
		return ring{}, fmt.Errorf("make a ring of %d KB: %w", size.block*size.blocks>>10, err)
	}
	mem, err := unix.Mmap(fd, 0, size.block*size.blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return ring{}, fmt.Errorf("map a ring of %d KB: %w", size.block*size.blocks>>10, err)
	}
	return ring{mem: mem, block: size.block}, nil
}

func (r *ring) close() error {
	mem := r.mem
	if mem == nil {
		return nil
	}
	r.mem = nil
	return unix.Munmap(mem)
}

// frame is one packet in a ring, valid until its block is given back.
type frame struct {
	data      []byte // from the network header on
	at        int64  // when it passed, Unix time in nanoseconds
	protocol  uint16 // EtherType of data
	direction uint8  // PACKET_HOST, PACKET_OUTGOING, ...
	cut       bool   // longer than a block: data is not all of it
}

// Offsets in the structures of linux/if_packet.h, in the host's byte order.
const (
	blockStatus = 8  // of tpacket_block_desc: block_status, num_pkts, offset_to_first_pkt
	blockHeader = 48 // its length

	frameHeader   = 48 // length of tpacket3_hdr; a sockaddr_ll follows
	frameFullSize = frameHeader + unix.SizeofSockaddrLinklayer
)

// read hands each packet of the next block to visit and gives the block back. ok is false if there is none. losing tells that the kernel
// has dropped packets.
func (r *ring) read(visit func(*frame)) (ok, losing bool) {
	if r.mem == nil {
		return false, false
	}
	b := r.mem[r.next : r.next+r.block]
	status := (*uint32)(unsafe.Pointer(&b[blockStatus]))
	is := atomic.LoadUint32(status)
	if is&unix.TP_STATUS_USER == 0 {
		return false, false
	}
	var f frame
	packets, at := word(b, blockStatus+4), int(word(b, blockStatus+8))
	for range packets {
		if at < blockHeader || at+frameFullSize > len(b) {
			break
		}
		f.fill(b[at:])
		visit(&f)
		step := int(word(b, at))
		if step == 0 {
			break
		}
		at += step
	}
	if r.next += r.block; r.next == len(r.mem) {
		r.next = 0
	}
	atomic.StoreUint32(status, unix.TP_STATUS_KERNEL)
	return true, is&unix.TP_STATUS_LOSING != 0
}

// fill reads a tpacket3_hdr and what follows it.
func (f *frame) fill(h []byte) {
	captured, length, start := int(word(h, 12)), int(word(h, 16)), int(binary.NativeEndian.Uint16(h[24:]))
	end := min(start+captured, len(h))
	*f = frame{
		data:      h[min(start, end):end:end],
		at:        int64(word(h, 4))*1e9 + int64(word(h, 8)),
		protocol:  binary.BigEndian.Uint16(h[frameHeader+2:]),
		direction: h[frameHeader+10],
		cut:       captured != length || end-start != captured,
	}
}

func word(b []byte, at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
