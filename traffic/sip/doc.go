// Package sip reads SIP as it passes by: which message it is, whose, and what it says about bindings. It reads what servers accept, and
// servers accept a lot (RFC 4475): lines that end with LF alone, folded headers, compact names, spaces anywhere, no reason phrase, no
// final empty line, rubbish in every header that nobody asked for.
//
// A Message is an index into octets that stay the caller's: nothing is copied and nothing allocated, so what it gives out is valid as
// long as those are. Stream and WebSocket cut messages from the octets of one direction of a TCP connection and find their way again after
// a loss; TLSRecords counts the records of a connection that nobody can read. All of them bound their memory and their work by what
// they are fed, whatever it is; none panics.
//
// It does not check a message against the grammar, does not verify a body and never builds or changes a message. Nothing in it is safe for
// concurrent use.
package sip
