// Package hook runs the operator's programs: when the role changes, and for every event that people want to hear of.
//
// A program is started without a shell, by its absolute path, with a clean environment, in a process group of its own. It has a time
// limit: SIGTERM to the whole group, two seconds of grace, SIGKILL to the group. What it prints is capped, what it leaves behind
// cannot block us. A program that somebody other than root or our own user could have put there is not run.
//
// Queue keeps hooks away from the core: its callers never wait. Role hooks are levels (only the newest waiting role matters, and a
// hook that hangs is ended by its limit); events of notify keep their order.
//
// It does not retry a hook and draws no conclusion from its exit code: it reports it.
package hook
