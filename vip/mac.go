package vip

import (
	"fmt"
	"net"
)

// MAC is an Ethernet address. The zero MAC is none.
type MAC [6]byte

// String gives six hexadecimal octets with colons, or "none".
func (m MAC) String() string {
	if m.IsZero() {
		return "none"
	}
	return net.HardwareAddr(m[:]).String()
}

// IsZero reports whether it is none.
func (m MAC) IsZero() bool { return m == MAC{} }

// MarshalText gives what String gives.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText takes what MarshalText gives.
func (m *MAC) UnmarshalText(text []byte) error {
	if string(text) == "none" {
		*m = MAC{}
		return nil
	}
	a, err := net.ParseMAC(string(text))
	if err != nil || len(a) != len(m) {
		return fmt.Errorf("%q is no Ethernet address", text)
	}
	*m = MAC(a)
	return nil
}

// macOf takes an address as the kernel gives it. One that is not Ethernet's is none.
func macOf(b []byte) MAC {
	if len(b) != len(MAC{}) {
		return MAC{}
	}
	return MAC(b)
}
