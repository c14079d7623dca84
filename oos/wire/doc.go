// Package wire is what probes of all kinds share: SIP responses, cut from streams and read, and what the errors of sockets mean.
package wire
