package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/nic"
	"github.com/understudy-sip/understudy/supervisor"
)

// check judges what single values can't tell: what belongs together. It keeps silent about values that are wrong in themselves.
func (d *decoder) check(c *Config) {
	if d.bad[""] {
		return
	}
	if !d.bad["nodes"] {
		d.checkNodes(c)
		d.checkAddressesOfNodes(c)
		d.checkRoles(c)
	}
	d.checkServiceAddress(c)
	d.checkDevices(c)
	d.checkSensors(c)
	d.checkAlarms(c)
	d.checkPaths(c)
}

// checkRoles: a pair is two members and one witness; three voters, so that any one may fail.
func (d *decoder) checkRoles(c *Config) {
	for name := range c.Nodes {
		if !d.fine("nodes."+string(name)+".witness") || d.bad["nodes."+string(name)] {
			return
		}
	}
	for path := range d.bad {
		if parent(path) == "nodes" { // an entry was not read, so counting would mislead
			return
		}
	}
	var members, witnesses []string
	for _, name := range c.names() {
		if c.Nodes[name].Witness {
			witnesses = append(witnesses, string(name))
		} else {
			members = append(members, string(name))
		}
	}
	if len(members) == 2 && len(witnesses) == 1 {
		return
	}
	d.problem("nodes", "a pair is two members and one node with witness: true, so that a majority is left when any one fails",
		"%s and %s", count(members, "member"), count(witnesses, "witness"))
}

func count(names []string, noun string) string {
	if len(names) == 0 {
		return "no " + noun
	}
	if len(names) > 1 {
		noun = map[string]string{"member": "members", "witness": "witnesses"}[noun]
	}
	return fmt.Sprintf("%d %s (%s)", len(names), noun, strings.Join(names, ", "))
}

// checkNodes: what a member needs and a witness must not have.
func (d *decoder) checkNodes(c *Config) {
	for _, name := range c.names() {
		n, at := c.Nodes[name], "nodes."+string(name)
		if d.bad[at] || !d.fine(at+".witness") {
			continue
		}
		_, hasInterface := d.lines[at+".interface"]
		switch {
		case n.Witness && hasInterface:
			d.problem(at+".interface", "remove it", "a witness never holds the service address")
		case !n.Witness && !hasInterface && !d.misspelt(at, "interface"):
			d.problem(at+".interface", needed("interface"), "missing for a member")
		}
		if _, has := d.lines[at+".sip-address"]; !n.Witness && !has && !d.misspelt(at, "sip-address") {
			d.problem(at+".sip-address", needed("sip-address"), "missing for a member")
		}
	}
}

// misspelt reports whether an unknown key of a section was taken for this one.
func (d *decoder) misspelt(section, key string) bool {
	for path := range d.bad {
		if parent(path) == section && path != join(section, key) {
			if near, ok := nearest(path[len(section)+1:], keysOf(fieldsOf(voterType))); ok && near == key {
				return true
			}
		}
	}
	return false
}

// checkAddressesOfNodes: no two nodes in one place, and none in the place that moves.
func (d *decoder) checkAddressesOfNodes(c *Config) {
	listeners, servers := map[netip.AddrPort]string{}, map[netip.Addr]string{}
	for _, name := range c.names() {
		n, at := c.Nodes[name], "nodes."+string(name)
		if address := n.Address.AddrPort; address.IsValid() && d.fine(at+".address") {
			if other, taken := listeners[address]; taken {
				d.problem(at+".address", "give each node its own", "%s is the address of %s too", address, other)
			}
			listeners[address] = string(name)
			if p, moves := c.service(address.Addr()); moves {
				d.problem(at+".address", "give it the host's own address", "%s is the service address %s, which moves", address.Addr(), p)
			}
		}
		if address := n.SIPAddress; address.IsValid() && d.fine(at+".sip-address") {
			if other, taken := servers[address]; taken {
				d.problem(at+".sip-address", "give each node its own", "%s is the SIP address of %s too", address, other)
			}
			servers[address] = string(name)
			if p, moves := c.service(address); moves {
				d.problem(at+".sip-address", "give it the host's own address", "%s is the service address %s, which moves", address, p)
			}
		}
	}
}

func (c *Config) service(a netip.Addr) (Prefix, bool) {
	for _, p := range c.ServiceAddress.Addresses {
		if p.IsValid() && p.Addr() == a {
			return p, true
		}
	}
	return Prefix{}, false
}

func (d *decoder) checkServiceAddress(c *Config) {
	const at = "service-address"
	s := c.ServiceAddress
	if _, given := d.lines[at+".addresses"]; given && len(s.Addresses) == 0 && d.fine(at+".addresses") {
		d.problem(at+".addresses", needed("addresses"), "empty")
	}
	first := map[netip.Addr]int{}
	for i, p := range s.Addresses {
		path := fmt.Sprintf("%s.addresses[%d]", at, i)
		if !p.IsValid() || !d.fine(path) {
			continue
		}
		if j, twice := first[p.Addr()]; twice {
			d.problem(path, "keep one of them", "%s is in the list already, as %s", p.Addr(), s.Addresses[j])
			continue
		}
		first[p.Addr()] = i
	}
	for i := 1; i < len(s.Announce.Schedule); i++ {
		if path := fmt.Sprintf("%s.announce.schedule[%d]", at, i); s.Announce.Schedule[i] <= s.Announce.Schedule[i-1] && d.fine(parent(path)) {
			d.problem(path, "count every time from the moment the address was taken, rising", "%s does not come after %s",
				s.Announce.Schedule[i], s.Announce.Schedule[i-1])
		}
	}
	d.checkScripts(s)
	if r := s.Announce.Refresh; r > 0 && r < ms(1000) && d.fine(at+".announce.refresh") {
		d.problem(at+".announce.refresh", "at least 1s, or 0 for never", "%s is too often", r)
	}
}

// checkScripts: scripts that would never run, and a switch without scripts, both surface at 03:00 otherwise.
func (d *decoder) checkScripts(s ServiceAddress) {
	const at = "service-address."
	if !d.fine(at + "control-vip-scripts") {
		return
	}
	for _, script := range []struct {
		key  string
		argv []string
	}{{"up-script", s.UpScript}, {"down-script", s.DownScript}} {
		switch {
		case !d.fine(at + script.key):
		case s.ControlVIPScripts && len(script.argv) == 0:
			d.problem(at+script.key, "write "+script.key+": [/path/of/program, argument]", "missing, although control-vip-scripts is true")
		case !s.ControlVIPScripts && len(script.argv) > 0:
			d.problem(at+script.key, "set control-vip-scripts: true, or remove it", "never runs, because control-vip-scripts is false")
		}
	}
	if s.ControlVIPScripts && s.Fence == Fence(supervisor.FenceLifetime) && d.fine(at+"fence") {
		d.problem(at+"fence", "choose nftables or auto", "the scripts put the address up, so understudy can't give it a lifetime")
	}
}

// checkDevices: sip-pass-check decides by the devices that it checks; without any it would never do anything.
func (d *decoder) checkDevices(c *Config) {
	checked := 0
	for name, dev := range c.Devices {
		at := "devices." + name
		if dev.Check > 0 {
			checked++
		}
		if (dev.User == "") != (dev.Password == "") && d.fine(at) {
			d.problem(at, "give both or neither", "user and password-file belong together")
		}
		if d.fine(at) {
			if err := deviceOf(name, dev).Validate(anyCertificate); err != nil {
				d.problem(at, "correct it", "%v", err)
			}
		}
	}
	if c.SIPPassCheck && checked == 0 && d.fine("devices") && d.fine("sip-pass-check") {
		d.problem("sip-pass-check", "give at least one device under devices an oos-check", "it needs a service device that is checked, and there is none")
	}
}

// checkSensors asks the sensors of the members whether they would take what the configuration says. One member's answer is enough.
func (d *decoder) checkSensors(c *Config) {
	if !d.fine("nodes") || !d.fine("service-address") || !d.fine("sip-server") {
		return
	}
	for _, name := range c.names() {
		if c.Nodes[name].Witness {
			continue
		}
		s := &Setup{Config: *c, Self: name}
		ask := func(section string, err error) {
			if err != nil && d.fine(section) {
				d.problem(section, "correct it", "at %s: %v", name, err)
			}
		}
		ask("traffic", trafficOptions(s).Validate())
		if s.keepsContacts() {
			_, err := newRegistrar(s, anySecret, zap.NewNop())
			ask("contacts", err)
		}
		ask("nic", nic.Options{Monitors: monitors(s), ReportGateway: func(nic.Gateway) {}}.Validate())
	}
}

// maxSocket is what the kernel takes as the path of a unix socket, without the closing zero.
const maxSocket = 107

func (d *decoder) checkPaths(c *Config) {
	for _, name := range c.names() {
		if path := forNode(c.API.Socket, name); len(path) > maxSocket && d.fine("api.socket") {
			d.problem("api.socket", fmt.Sprintf("the kernel takes %d octets", maxSocket), "%s is %d octets long", path, len(path))
		}
		if path := forNode(c.Contacts.Kamailio.RPC, name); len(path) > maxSocket && d.fine("contacts.kamailio.rpc") {
			d.problem("contacts.kamailio.rpc", fmt.Sprintf("the kernel takes %d octets", maxSocket), "%s is %d octets long", path, len(path))
		}
	}
}

// argvForNode replaces {node} in a command.
func argvForNode(argv []string, name supervisor.NodeID) []string {
	out := slices.Clone(argv)
	for i := range out {
		out[i] = forNode(out[i], name)
	}
	return out
}

// forNode replaces {node} in a path.
func forNode(path string, name supervisor.NodeID) string {
	return strings.ReplaceAll(path, "{node}", string(name))
}
