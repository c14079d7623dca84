package raftstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
)

// checkBoltFile says whether the bytes of a bbolt file are whole: both meta pages valid, every page below the high-water mark either
// free or reachable exactly once, elements packed and keys in order exactly as bbolt writes them, and no more buckets than ours.
//
// bbolt itself opens a damaged file without complaint and then panics, faults on its memory map, hides entries or, if only the newest
// meta page is damaged, quietly goes back by one transaction: a forgotten vote. So the file is read here first, by code that can't
// do worse than return an error. The contents of entries have checksums of their own (disk.go).
func checkBoltFile(b []byte, buckets ...string) error {
	return (&boltFile{b: b, want: buckets}).check()
}

func (f *boltFile) check() (err error) {
	defer func() {
		if p := recover(); p != nil { // an index out of range: something points outside of the file
			err = fmt.Errorf("it points outside of itself: %v", p)
		}
	}()
	if err := f.readMeta(); err != nil {
		return err
	}
	f.used = make([]bool, f.pages)
	f.used[0], f.used[1] = true, true
	if err := f.readFreelist(); err != nil {
		return err
	}
	if err := f.walkBucket(f.root, true); err != nil {
		return err
	}
	for id, used := range f.used {
		if !used {
			return fmt.Errorf("page %d is neither used nor free", id)
		}
	}
	return nil
}

// Layout of a bbolt file (go.etcd.io/bbolt/internal/common): page header {id u64, flags u16, count u16, overflow u32}; branch element
// {pos u32, ksize u32, pgid u64}; leaf element {flags u32, pos u32, ksize u32, vsize u32}, pos counted from the element itself.
const (
	boltMagic, boltVersion   = 0xED0CDAED, 2
	boltHeader, boltElement  = 16, 16
	boltBranch, boltLeaf     = 0x01, 0x02
	boltMeta, boltFreelist   = 0x04, 0x10
	boltBucketFlag           = 0x01
	boltMetaSum, boltMetaEnd = 56, 64
)

type boltFile struct {
	b        []byte
	want     []string
	pageSize uint64
	pages    uint64 // high-water mark: pages with higher numbers don't exist
	root     uint64
	freelist uint64
	used     []bool
	seen     func(key, value []byte) // tests look at the values
}

var le = binary.LittleEndian

func (f *boltFile) readMeta() error {
	if len(f.b) < 0x1000 {
		return fmt.Errorf("it is cut off after %d octets", len(f.b))
	}
	f.pageSize = uint64(le.Uint32(f.b[boltHeader+8:]))
	if f.pageSize < 1024 || f.pageSize > 1<<16 || f.pageSize&(f.pageSize-1) != 0 || uint64(len(f.b)) < 2*f.pageSize {
		return fmt.Errorf("page size %d in a file of %d octets", f.pageSize, len(f.b))
	}
	var newest uint64
	for i := range uint64(2) {
		page := f.b[i*f.pageSize:]
		m := page[boltHeader : boltHeader+boltMetaEnd]
		sum := fnv.New64a()
		sum.Write(m[:boltMetaSum])
		switch {
		case le.Uint64(page) != i || le.Uint16(page[8:]) != boltMeta:
			return fmt.Errorf("page %d is no meta page", i)
		case le.Uint32(m) != boltMagic || le.Uint32(m[4:]) != boltVersion || uint64(le.Uint32(m[8:])) != f.pageSize:
			return fmt.Errorf("meta page %d is not bbolt's", i)
		case le.Uint64(m[boltMetaSum:]) != sum.Sum64():
			return fmt.Errorf("checksum of meta page %d is wrong", i)
		}
		if txid := le.Uint64(m[48:]); i == 0 || txid > newest {
			newest = txid
			f.root, f.freelist, f.pages = le.Uint64(m[16:]), le.Uint64(m[32:]), le.Uint64(m[40:])
		}
	}
	if size := uint64(len(f.b)); f.pages > size/f.pageSize {
		return fmt.Errorf("it is cut off after %d octets of %d", size, f.pages*f.pageSize)
	}
	return nil
}

// page gives a page with its overflow, checks that it says who it is, and marks it as used.
func (f *boltFile) page(id uint64) ([]byte, error) {
	p := f.b[id*f.pageSize:]
	if got := le.Uint64(p); got != id {
		return nil, fmt.Errorf("page %d says that it is page %d", id, got)
	}
	span := uint64(le.Uint32(p[12:])) + 1
	for i := id; i < id+span; i++ {
		if err := f.use(i); err != nil {
			return nil, err
		}
	}
	size := span * f.pageSize
	return p[:size:size], nil
}

func (f *boltFile) use(id uint64) error {
	if f.used[id] {
		return fmt.Errorf("page %d is used twice", id)
	}
	f.used[id] = true
	return nil
}

func (f *boltFile) readFreelist() error {
	p, err := f.page(f.freelist)
	if err != nil {
		return err
	}
	if flags := le.Uint16(p[8:]); flags != boltFreelist {
		return fmt.Errorf("page %d is no list of free pages", f.freelist)
	}
	count, ids := uint64(le.Uint16(p[10:])), p[boltHeader:]
	if count == 0xFFFF {
		count, ids = le.Uint64(ids), ids[8:]
	}
	for i := range count {
		if err := f.use(le.Uint64(ids[i*8:])); err != nil {
			return err
		}
	}
	return nil
}

// walkBucket checks the tree under a page: the root's, whose elements are our buckets, or a bucket's, whose elements are values.
func (f *boltFile) walkBucket(id uint64, root bool) error {
	var last []byte
	names := 0
	each := func(key, value []byte, flags uint32) error {
		if last != nil && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("key %x is out of order", key)
		}
		last = key
		if !root {
			if flags != 0 {
				return fmt.Errorf("key %x is a bucket", key)
			}
			f.see(key, value)
			return nil
		}
		if flags != boltBucketFlag || names >= len(f.want) || string(key) != f.want[names] {
			return fmt.Errorf("unknown bucket %q", key)
		}
		names++
		if child := le.Uint64(value); child != 0 {
			return f.walkBucket(child, false)
		}
		return f.inlineBucket(slices.Clip(value[16:]))
	}
	if err := f.walkPage(id, nil, nil, each); err != nil {
		return err
	}
	if root && names != len(f.want) {
		return fmt.Errorf("%d buckets instead of %d", names, len(f.want))
	}
	return nil
}

func (f *boltFile) see(key, value []byte) {
	if f.seen != nil {
		f.seen(key, value)
	}
}

// inlineBucket checks a bucket so small that it stands inside its parent's page, as a page of its own.
func (f *boltFile) inlineBucket(p []byte) error {
	var last []byte
	end, err := walkLeaf(p, func(key, value []byte, flags uint32) error {
		if flags != 0 || last != nil && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("key %x is out of order or a bucket", key)
		}
		last = key
		f.see(key, value)
		return nil
	})
	if err == nil && end != uint64(len(p)) {
		err = fmt.Errorf("a small bucket has %d octets instead of %d", len(p), end)
	}
	return err
}

type visit func(key, value []byte, flags uint32) error

// walkPage visits the elements below a page in order. All keys must be at least low and below high, where these are not nil.
func (f *boltFile) walkPage(id uint64, low, high []byte, each visit) error {
	p, err := f.page(id)
	if err != nil {
		return err
	}
	bounded := func(key []byte) error {
		if low != nil && bytes.Compare(key, low) < 0 || high != nil && bytes.Compare(key, high) >= 0 {
			return fmt.Errorf("key %x on page %d does not belong there", key, id)
		}
		return nil
	}
	count := uint64(le.Uint16(p[10:]))
	if count == 0 {
		return fmt.Errorf("page %d is empty", id)
	}
	switch le.Uint16(p[8:]) {
	case boltLeaf:
		_, err := walkLeaf(p, func(key, value []byte, flags uint32) error {
			if err := bounded(key); err != nil {
				return err
			}
			return each(key, value, flags)
		})
		return err
	case boltBranch:
		return f.walkBranch(p, count, high, bounded, each)
	}
	return fmt.Errorf("page %d is of unknown kind", id)
}

func (f *boltFile) walkBranch(p []byte, count uint64, high []byte, bounded func([]byte) error, each visit) error {
	keys := make([][]byte, count)
	next := boltHeader + count*boltElement
	for i := range count {
		at := boltHeader + i*boltElement
		pos, size := at+uint64(le.Uint32(p[at:])), uint64(le.Uint32(p[at+4:]))
		if pos != next || size == 0 {
			return fmt.Errorf("element %d of a branch page is misplaced", i)
		}
		next = pos + size
		keys[i] = p[pos:next]
		if err := bounded(keys[i]); err != nil {
			return err
		}
	}
	for i := range count {
		upper := high
		if i+1 < count {
			upper = keys[i+1]
		}
		if err := f.walkPage(le.Uint64(p[boltHeader+i*boltElement+8:]), keys[i], upper, each); err != nil {
			return err
		}
	}
	return nil
}

// walkLeaf visits the elements of a leaf page and returns where the last one ends.
func walkLeaf(p []byte, each visit) (end uint64, err error) {
	if le.Uint16(p[8:]) != boltLeaf {
		return 0, fmt.Errorf("a small bucket is no leaf page")
	}
	count := uint64(le.Uint16(p[10:]))
	next := boltHeader + count*boltElement
	for i := range count {
		at := boltHeader + i*boltElement
		flags, pos := le.Uint32(p[at:]), at+uint64(le.Uint32(p[at+4:]))
		ksize, vsize := uint64(le.Uint32(p[at+8:])), uint64(le.Uint32(p[at+12:]))
		if pos != next || ksize == 0 {
			return 0, fmt.Errorf("element %d of a leaf page is misplaced", i)
		}
		next = pos + ksize + vsize
		if err := each(p[pos:pos+ksize], p[pos+ksize:next], flags); err != nil {
			return 0, err
		}
	}
	return next, nil
}
