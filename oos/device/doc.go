// Package device finds out which SIP devices (trunks, gateways, media servers, phones) are in service: actively by OPTIONS, and passively
// by hints from whoever sees their traffic.
//
// It promises: a device whose oos-check is set is asked every oos-check while it is in service and every oos-force while it is not; it is
// out of service when a probe had no positive answer for oos-force, at once when the device refuses to be asked (ICMP port
// unreachable, TCP reset, TLS handshake rejected), and in service again with the first positive answer or REGISTER. A lost datagram is
// no verdict: within the wait a probe is sent again as RFC 3261 17.1.2 says. What already lies in the socket is read before a
// device is judged, and the time that this process did not run is not held against a device. Only an answer to the newest probe, from
// the address that was asked, counts.
//
// All devices on UDP share one socket a family; one goroutine sends and receives in batches. TCP and TLS devices have a
// connection each, kept open. Nobody but the primary may ask: SetActive says who that is.
//
// It does not route calls and does not decide about roles.
package device
