// Package oos asks SIP servers whether they serve, by OPTIONS on a fast cadence, and classes what comes back.
//
// It promises: an explicit refusal (ICMP port unreachable, TCP reset or refusal, a rejected TLS handshake) is reported at once; silence
// is reported when it has lasted as long as the target says and at least three probes stayed unanswered (while an answer is overdue
// more of them are sent, so that lost packets do not pass for silence); a window in which this
// process itself could not send or read in time proves nothing about a target and is not counted; what already lies in the
// socket is read before a target is judged. Trouble on this side (no route, no source address) is never blamed on the target.
//
// UDP is spoken by hand-written messages on connected sockets, because only these show ICMP errors and cost little; TCP and TLS carry the
// same messages on plain connections with a deadline on everything. Any final answer that carries our branch counts, however odd.
//
// It does not decide about roles.
package oos
