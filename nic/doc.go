// Package nic watches network interfaces by netlink: whether one is there, administratively up and has a carrier.
//
// It promises a report at start, one for every change within a millisecond of the kernel's event, and none twice. It polls nothing;
// when the kernel drops events it subscribes anew and looks again.
package nic
