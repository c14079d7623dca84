// Package alarm turns events into alarms of the whole pair and tells people and programs of them.
//
// A condition says which event raises an alarm, which event or time ends it, and which reactions run when. Engine matches events to
// conditions and proposes entries of the alarm table, which is replicated with the role record; from the committed table it runs
// cancel timers and reactions: programs, webhooks, Alertmanager, syslog, the journal, SNMP notifications.
//
// Promise: whoever posts an event never waits, and memory and log entries stay bounded whatever comes. A committed entry counts once,
// however often it had to be proposed. Reactions run once per alarm in the whole pair; twice if the node that ran them died before
// it could tell so. While no majority can be asked, the node that sees something reacts by itself and commits it later.
//
// It detects nothing, and draws no conclusions: no alarm moves the role.
package alarm
