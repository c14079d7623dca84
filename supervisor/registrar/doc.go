// Package registrar reads and writes the registrations of SIP servers: one file per kind of server, one for those of any kind.
//
// A server tells that an address of record has changed, by a push of its own or because somebody saw the REGISTER: that is a hint, and may be
// lost or come late. What the server says when it is asked afterwards is the truth. On the backup the same is written the other way
// round: an address of record is made equal to what the primary has, as often as need be.
package registrar
