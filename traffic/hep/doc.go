// Package hep reads HEP version 3, in which SIP servers report the messages they receive and send (Kamailio siptrace, OpenSIPS tracer,
// FreeSWITCH sofia capture, Asterisk res_hep): also those that came by TLS, where nothing can be seen from outside.
//
// A Packet points into octets that stay the caller's; nothing is allocated. What a peer sends is bounded by its length field of 16 bits, and no
// octets can make the reader panic or loop. It reads neither versions 1 and 2 nor compressed payload, and sends nothing.
//
// The format is that of https://github.com/sipcapture/HEP.
package hep
