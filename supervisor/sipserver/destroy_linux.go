package sipserver

import (
	"context"
	"fmt"
	"os"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// openDestroy gives a netlink socket on which the kernel says that a listening socket on one of the ports was destroyed, whoever
// held it. It works in any network namespace. Sockets with a peer, which come and go with every call, are filtered in the kernel.
func openDestroy(ports []uint16) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	filter, err := bpf.Assemble(destroyFilter(ports))
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("assemble filter: %w", err)
	}
	program := make([]unix.SockFilter, len(filter))
	for i, f := range filter {
		program[i] = unix.SockFilter{Code: f.Op, Jt: f.Jt, Jf: f.Jf, K: f.K}
	}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1<<(unix.SKNLGRP_INET_TCP_DESTROY-1) |
			1<<(unix.SKNLGRP_INET_UDP_DESTROY-1) | 1<<(unix.SKNLGRP_INET6_TCP_DESTROY-1) | 1<<(unix.SKNLGRP_INET6_UDP_DESTROY-1)})
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("subscribe to destroyed sockets: %w", err)
	}
	return os.NewFile(uintptr(fd), "sock_diag"), nil
}

func destroyFilter(ports []uint16) []bpf.Instruction {
	f := []bpf.Instruction{
		bpf.LoadAbsolute{Off: unix.SizeofNlMsghdr + offDestPort, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: unix.SizeofNlMsghdr + offSourcePort, Size: 2},
	}
	for _, p := range ports {
		f = append(f, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(p), SkipFalse: 1}, bpf.RetConstant{Val: 1 << 16})
	}
	return append(f, bpf.RetConstant{Val: 0})
}

// watchDestroyed passes destruction on until f is closed or ctx ends. An overrun counts: something was destroyed.
func watchDestroyed(ctx context.Context, f *os.File, destroyed chan<- struct{}) {
	buf := make([]byte, 8<<10)
	for {
		n, err := f.Read(buf)
		if ctx.Err() != nil || (err != nil && !isOverrun(err)) {
			return
		}
		if err == nil && n < unix.SizeofNlMsghdr+msgLen {
			continue
		}
		select {
		case destroyed <- struct{}{}:
		default:
		}
	}
}

// ports gives the distinct ports of the sockets, in order.
func ports(listen []Socket) []uint16 {
	var all []uint16
	for _, l := range listen {
		all = append(all, l.Addr.Port())
	}
	slices.Sort(all)
	return slices.Compact(all)
}
