// Package traffic watches the SIP that passes by: what comes to the SIP server of this host and what it sends, over UDP, TCP, WebSocket
// and, as far as that can be seen, TLS. It tells when the last message came (sip-pass-check), how many of which kind, and how many
// requests the server answers. It also learns registrations: what the server accepts, from a REGISTER and the answer to it.
//
// It promises: every message that arrives at the interfaces is counted once, in whatever fragments, segments and tags it comes; what
// this host sends to itself is told apart from what came over the network; the kernel passes on nothing but the SIP ports of the given
// addresses; nothing of the traffic is kept longer than it takes to put a message together, or a REGISTER and its answer, and nothing
// leaves the host. Nobody on the network can make up a registration: its answer counts only when this host sends it back to where the
// REGISTER came from. Memory and work are bounded whoever sends whatever. An interface may vanish and return. Lost packets are counted.
//
// Sources are packet sockets with a ring each (AF_PACKET, TPACKET_V3) and HEP version 3 from a server or proxy that sends it. Of TLS
// without HEP only records are seen that are long enough for a message.
//
// It decides nothing: what silence means is the business of others.
package traffic
