package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// The metrics. A fact that the node doesn't have makes no series: a witness has no SIP server, a backup checks no devices.
type names struct {
	build, primary, role, epoch, changed, ready, paused               *prometheus.Desc
	switchovers, budget, backoff                                      *prometheus.Desc
	lease, quorum, peer, mismatch, leader                             *prometheus.Desc
	probe, probeTime, device, deviceTime                              *prometheus.Desc
	messages, lastMessage, unanswered, answered, captureDrops, parses *prometheus.Desc
	socketQueue, socketDrops, nic, vipPresent, vipExpected            *prometheus.Desc
	alarms, hookDrops                                                 *prometheus.Desc
	contacts, flows, inSync, lag, behind, syncBytes, told, contactErr *prometheus.Desc

	all []*prometheus.Desc
}

func newNames(cluster, node string) *names {
	n := &names{}
	constant := prometheus.Labels{"cluster": cluster, "node": node}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		d := prometheus.NewDesc("understudy_"+name, help, labels, constant)
		n.all = append(n.all, d)
		return d
	}
	n.build = desc("build_info", "1, with the version of the program.", "version", "revision", "goversion")
	n.primary = desc("primary", "1 while this node is primary with a lease that runs, else 0.")
	n.role = desc("role", "1 for the role that this node has now, 0 for the others.", "role")
	n.epoch = desc("role_epoch", "Epoch of the role record as this node has applied it.")
	n.changed = desc("role_last_change_timestamp_seconds", "When the epoch began. Absent while there never was a primary.")
	n.ready = desc("ready", "1 while this member could serve now, else 0. Absent on a witness.")
	n.paused = desc("paused", "1 while automatic switchovers are paused, else 0.")
	n.switchovers = desc("switchovers_total", "Switchovers of the pair since this process started, by what caused them. "+
		"Every node counts the same ones.", "trigger")
	n.budget = desc("switchover_budget_remaining", "Switchovers on suspicion that are still allowed in the period.")
	n.backoff = desc("backoff_multiplier", "By how much the period of the rule about SIP silence is stretched: 1 to 4. Absent where the rule does not apply.")
	n.lease = desc("lease_remaining_seconds", "What is left of this node's lease; 0 without one.")
	n.quorum = desc("quorum_members_reachable", "Nodes that are heard, this one among them.")
	n.peer = desc("peer_up", "1 while the other node is heard, else 0.", "peer")
	n.mismatch = desc("config_mismatch", "1 while the other node's configuration differs from this one's, else 0. Absent while it was never heard.", "peer")
	n.leader = desc("raft_leader", "1 while this node leads Raft, else 0.")
	n.probe = desc("probe_up", "1 while the SIP server (probe=sip-server, target its member) or the service address (probe=service-address) "+
		"answers the node called vantage, 0 while it is dead. Absent while that is not known.", "probe", "target", "vantage")
	n.probeTime = desc("probe_duration_seconds", "How long the last answer took, as the node called vantage measured it.", "probe", "target", "vantage")
	n.device = desc("device_up", "1 while the device is in service, 0 while it is out of service. Absent if it is not checked here.", "device")
	n.deviceTime = desc("device_rtt_seconds", "How long the device's last positive answer took.", "device")
	n.messages = desc("sip_messages_total", "SIP messages between this node and the network, by method or class of status code.", "direction", "kind")
	n.lastMessage = desc("sip_last_message_timestamp_seconds", "When the last SIP message passed. Absent before the first.", "direction")
	n.unanswered = desc("sip_unanswered_requests", "Requests from the network that were found unanswered within the last 10 s.")
	n.answered = desc("sip_answer_ratio", "Part of the requests from the network that was answered, of those decided within the last 10 s. Absent without any.")
	n.captureDrops = desc("capture_packets_dropped_total", "Packets that the observer of the SIP traffic did not read in time.")
	n.parses = desc("sip_parse_errors_total", "What came to a SIP port from the network and was no SIP message.")
	n.socketQueue = desc("socket_receive_queue_bytes", "What waits in the UDP sockets of the SIP server to be read by it, with the kernel's overhead.")
	n.socketDrops = desc("socket_drops_total", "Datagrams and connections that the kernel threw away at the sockets of the SIP server.")
	n.nic = desc("nic_up", "1 while the monitored interface is up, else 0.", "nic")
	n.vipPresent = desc("vip_present", "1 while the service address is on this node's interface, else 0. Absent while that is not known.", "vip")
	n.vipExpected = desc("vip_expected", "1 while the service address should be there, else 0.", "vip")
	n.alarms = desc("alarm_active", "Active alarms of the pair. Every node shows the same ones.", "condition", "severity")
	n.contacts = desc("contacts", "Registered Contacts that this node knows, by the member at whose server they registered last.", "registered_at")
	n.flows = desc("contacts_connection_bound", "Of these, those that live as long as a connection: after a switchover these phones connect again.")
	n.inSync = desc("contacts_in_sync", "1 while both members are known to have the same Contacts, else 0.")
	n.lag = desc("contacts_lag_seconds", "How long changes took of late until the other member had them: 99 of 100 took no longer. Absent before the first.")
	n.behind = desc("contacts_unacknowledged", "Changed addresses of record that the other member has not acknowledged.")
	n.syncBytes = desc("contacts_sync_bytes_total", "Octets of the stream between the members, before TLS.", "direction")
	n.told = desc("contacts_changes_total", "Changes of addresses of record: learned from this node's server, or told to it.", "direction")
	n.contactErr = desc("contacts_failed_attempts_total", "Attempts to ask this node's server for registrations, or to tell it any, that failed.")
	n.hookDrops = desc("hook_queue_dropped_total", "Notifications that were too many for the notify hook.")
	return n
}
