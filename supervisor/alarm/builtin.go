package alarm

import (
	"slices"
	"time"

	"github.com/understudy-sip/understudy/supervisor"
)

const (
	critical      = supervisor.SeverityCritical
	major         = supervisor.SeverityMajor
	minor         = supervisor.SeverityMinor
	warning       = supervisor.SeverityWarning
	indeterminate = supervisor.SeverityIndeterminate
)

// How long alarms stay that no event ends.
const (
	atOnce = 5 * time.Second // the event is all there is: soon over, so that the next one reacts anew
	aWhile = 10 * time.Minute
	twoDay = 48 * time.Hour
)

// builtin are the conditions that are there without being configured. An alarm of a state stays until the state ends; one of a mere
// event ends by time.
var builtin = [...]Condition{
	{Name: "role-changed", Severity: major, Detect: "role-changed", CancelAfter: atOnce, Text: "the primary changed"},
	{Name: "no-primary", Severity: critical, Detect: "no-primary", Cancel: "primary-serves", Text: "no node is primary"},
	{Name: "no-eligible-node", Severity: critical, Detect: "no-eligible-node", Cancel: "eligible-node", Text: "no member can be primary"},
	{Name: "dual-owner", Severity: critical, Detect: "dual-owner", Cancel: "sole-owner", Text: "somebody else claims the service address"},
	{Name: "sip-server-down", Severity: major, Detect: "sip-server-down", Cancel: "sip-server-serving", Text: "the SIP server is dead"},
	{Name: "sip-server-stuck", Severity: major, Detect: "sip-server-stuck", Cancel: "sip-server-serving", Text: "the SIP server takes requests and answers none"},
	{Name: "sip-server-draining", Severity: warning, Detect: "sip-server-draining", Cancel: "sip-server-serving", Text: "the SIP server asks for no new work (503)"},
	{Name: "sip-server-terminated", Severity: critical, Detect: "sip-server-terminated", CancelAfter: twoDay, Text: "the SIP server ended without being told to"},
	{Name: "sip-options-unanswered", Severity: warning, Detect: "sip-options-unanswered", Cancel: "sip-options-answered", Text: "the SIP server answers calls but not OPTIONS"},
	{Name: "sip-overload", Severity: warning, Detect: "sip-overload", Cancel: "sip-load-normal", Text: "the SIP server is overloaded"},
	{Name: "sip-path", Severity: warning, Detect: "sip-path-doubted", Cancel: "sip-path-clear", Text: "not everybody reaches the SIP server"},
	{Name: "sip-traffic-silent", Severity: major, Detect: "sip-traffic-silent", Cancel: "sip-traffic-seen", Text: "no SIP message came or went"},
	{Name: "sip-listener-missing", Severity: major, Detect: "sip-listener-missing", Cancel: "sip-listener-bound", Text: "nothing listens where the SIP server should"},
	{Name: "nic-down", Severity: major, Detect: "nic-down", Cancel: "nic-up", Text: "the interface for SIP failed"},
	{Name: "gateway-silent", Severity: minor, Detect: "gateway-silent", Cancel: "gateway-answers", Text: "the gateway of the SIP network does not answer"},
	{Name: "vip-missing", Severity: major, Detect: "vip-missing", Cancel: "vip-present", Text: "the primary lacks the service address"},
	{Name: "vip-unexpected", Severity: major, Detect: "vip-unexpected", Cancel: "vip-absent", Text: "the service address is on a node that is not primary"},
	{Name: "vip-not-propagated", Severity: major, Detect: "vip-not-propagated", Cancel: "vip-propagated", Text: "neighbours still send the service address's packets elsewhere"},
	{Name: "backup-not-ready", Severity: major, Detect: "backup-not-ready", Cancel: "backup-ready", Text: "the backup could not take over"},
	{Name: "device-out-of-service", Severity: minor, Detect: "device-out-of-service", Cancel: "device-in-service", Text: "a device does not answer"},
	{Name: "quorum-degraded", Severity: warning, Detect: "quorum-degraded", Cancel: "quorum-full", Text: "one of three nodes is missing"},
	{Name: "quorum-lost", Severity: critical, Detect: "quorum-lost", Cancel: "quorum-kept", Text: "two of three nodes are missing"},
	{Name: "backoff-active", Severity: warning, Detect: "backoff-active", Cancel: "backoff-over", Text: "silence moves the role more slowly than configured"},
	{Name: "switchover-frozen", Severity: critical, Detect: "switchover-frozen", Cancel: "switchover-free", Text: "the switchover budget is spent"},
	{Name: "contacts-out-of-sync", Severity: warning, Detect: "contacts-out-of-sync", Cancel: "contacts-in-sync", Text: "the members know different contacts"},
	{Name: "hook-failed", Severity: warning, Detect: "hook-failed", Cancel: "hook-succeeded", CancelAfter: twoDay, Text: "an operator's program failed"},
	{Name: "actuator-not-converged", Severity: major, Detect: "actuator-not-converged", Cancel: "actuator-converged", Text: "the service address is not as it should be"},
	{Name: "config-mismatch", Severity: warning, Detect: "config-mismatch", Cancel: "config-match", Text: "the nodes are configured differently"},
	{Name: "paused", Severity: indeterminate, Detect: "paused", Cancel: "resumed", Text: "automatic switchovers are paused"},
	{Name: "pause-expiring", Severity: indeterminate, Detect: "pause-expiring", Cancel: "resumed", CancelAfter: aWhile, Text: "the pause ends soon"},
	{Name: "clock-skew", Severity: warning, Detect: "clock-skew", Cancel: "clock-right", Text: "the nodes' clocks differ"},
	{Name: "disk-slow", Severity: warning, Detect: "disk-slow", Cancel: "disk-fine", Text: "the state folder's disk is slow"},
	{Name: "loop-late", Severity: warning, Detect: "loop-late", CancelAfter: aWhile, Text: "the sidecar did not get the processor in time"},
	{Name: "cert-expiring", Severity: warning, Detect: "cert-expiring", Cancel: "cert-renewed", Text: "a certificate expires soon"},
	{Name: "drill-failed", Severity: warning, Detect: "drill-failed", Cancel: "drill-passed", Text: "the rehearsal failed"},
	{Name: "drill-overdue", Severity: warning, Detect: "drill-overdue", Cancel: "drill-passed", Text: "there was no rehearsal for too long"},

	// Off, because others say the same of the pair. For sites that bring reactions along which were written for these numbers.
	{Name: "changed-to-primary", Severity: warning, Detect: "changed-to-primary", CancelAfter: atOnce, Text: "a member became primary"},
	{Name: "changed-to-backup", Severity: warning, Detect: "changed-to-backup", CancelAfter: atOnce, Text: "a member became backup"},
	{Name: "connection-failure", Severity: major, Detect: "connection-lost", Cancel: "connection-made", CancelAfter: twoDay, Text: "a node can't be reached"},
}

const builtinOff = 3 // the last ones

// Builtin gives the built-in conditions.
func Builtin() []Condition {
	list := slices.Clone(builtin[:])
	for i := range len(list) - builtinOff {
		list[i].Enabled = true
	}
	return list
}
