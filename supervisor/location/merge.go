package location

import "time"

// repeatable is how long after it was sent first a REGISTER may come again as it was (RFC 3261 17.1.2.2).
const repeatable = 32 * time.Second

// Merge gives the bindings of an address of record after r, which was answered now, from those before. The answer tells which Contacts
// there are and until when (RFC 3261 10.3, step 8). Call-ID, CSeq, Path, source and the like come from the REGISTER for those Contacts that
// it names, and are what they were for others. A REGISTER older than one with the same Call-ID that is known already changes nothing, and
// one that is sent again prolongs nothing. have is not changed.
func Merge(have []Binding, r Registration, now time.Duration) []Binding {
	for i := range have {
		if have[i].CallID == r.CallID && r.CSeq < have[i].CSeq {
			return have
		}
	}
	m := merger{r: &r, now: now, named: make([]identity, len(r.Named)), have: make([]identity, len(have))}
	for i := range r.Named {
		m.named[i] = r.Named[i].identity()
	}
	for i := range have {
		m.have[i] = identity{uri: canonical(have[i].Contact), instance: have[i].Instance, regID: have[i].RegID}
	}
	partial := r.Partial && !r.All
	for i := range r.Granted {
		granted, id := &r.Granted[i], r.Granted[i].identity()
		named := m.request(granted, id)
		if granted.Expires <= 0 || named == nil && partial {
			continue
		}
		known := newBinding
		if at := find(m.have, id); at >= 0 {
			known = have[at]
		}
		m.put(m.binding(known, granted, named), named != nil)
	}
	for i := range have {
		if partial && find(m.named, m.have[i]) < 0 {
			m.put(have[i], false)
		}
	}
	return m.state[:min(len(m.state), MaxContacts)]
}

// newBinding is one that nothing is known of.
var newBinding = Binding{Q: NoQ, Methods: AllMethods}

// merger is a Merge under way.
type merger struct {
	r           *Registration
	now         time.Duration
	named, have []identity
	state       []Binding
	sure        []bool // the REGISTER names it
}

// identity is what tells whether two Contacts are one binding.
type identity struct {
	uri      string // canonical
	instance string
	regID    uint32
}

func (c *Contact) identity() identity {
	return identity{uri: canonical(c.URI), instance: c.Instance, regID: c.RegID}
}

// same compares instance and reg-id where both say them (RFC 5626, section 6), else the URI. Two phones behind two NATs may have one URI.
func (x identity) same(y identity) bool {
	if x.instance != "" && y.instance != "" {
		if x.instance != y.instance {
			return false
		}
		if x.regID != 0 && y.regID != 0 {
			return x.regID == y.regID
		}
	}
	return x.uri == y.uri
}

// find gives the place of x, -1 if it is not there.
func find(list []identity, x identity) int {
	for i := range list {
		if list[i].same(x) {
			return i
		}
	}
	return -1
}

// request gives what the REGISTER says about a Contact of the answer, nil if it does not name it. Registrars that know about NAT may have
// put the source's address into the Contact.
func (m *merger) request(granted *Contact, id identity) *Contact {
	if i := find(m.named, id); i >= 0 {
		return &m.r.Named[i]
	}
	to, _, ok := hop(granted.URI)
	from, _, known := hop(m.r.Received)
	if !ok || !known || to != from {
		return nil
	}
	for i := range m.r.Named {
		other := m.named[i].instance != "" && id.instance != "" && m.named[i].instance != id.instance
		if !other && userOf(m.r.Named[i].URI) == userOf(granted.URI) {
			return &m.r.Named[i]
		}
	}
	return nil
}

func userOf(s string) string {
	u, _ := parseURI(s)
	return u.user
}

// binding is what b has become.
func (m *merger) binding(b Binding, granted, named *Contact) Binding {
	expires := m.now + granted.Expires
	if named == nil {
		if (expires - b.Expires).Abs() <= rounding {
			expires = b.Expires // told once more
		}
		b.Contact, b.Expires = granted.URI, expires
		b.fill(granted)
		return b
	}
	if longer := expires - b.Expires; b.CallID == m.r.CallID && b.CSeq == m.r.CSeq && longer > 0 && longer <= repeatable {
		expires = b.Expires
	}
	b.Contact, b.Expires = granted.URI, expires
	b.Q, b.Instance, b.RegID, b.Received = named.Q, named.Instance, named.RegID, ""
	if differs(granted.URI, m.r.Received) {
		b.Received = m.r.Received
	}
	b.fill(granted)
	b.CallID, b.CSeq, b.UserAgent, b.Path, b.Socket = m.r.CallID, m.r.CSeq, m.r.UserAgent, m.r.Path, m.r.Socket
	return b
}

// fill takes what an answer says.
func (b *Binding) fill(granted *Contact) {
	if granted.Q != NoQ {
		b.Q = granted.Q
	}
	if granted.Instance != "" {
		b.Instance = granted.Instance
	}
	if granted.RegID != 0 {
		b.RegID = granted.RegID
	}
	if _, err := parseURI(granted.Received); err == nil {
		b.Received = granted.Received
	}
}

// differs reports whether what is sent to the Contact does not arrive where the REGISTER came from.
func differs(contact, source string) bool {
	if source == "" {
		return false
	}
	to, by, ok := hop(contact)
	from, over, _ := hop(source)
	return !ok || to != from || by != over
}

// put adds b. Of two with one key the one that the REGISTER names stays, else the one that lasts longer: keys are unique.
func (m *merger) put(b Binding, sure bool) {
	key := b.Key()
	for i := range m.state {
		if m.state[i].Key() != key {
			continue
		}
		if sure && !m.sure[i] || sure == m.sure[i] && b.Expires > m.state[i].Expires {
			m.state[i], m.sure[i] = b, sure
		}
		return
	}
	m.state, m.sure = append(m.state, b), append(m.sure, sure)
}
