package sip

import "iter"

// Contact is an element of a Contact header: a binding in a REGISTER and in the answer to it (RFC 3261 10).
type Contact struct {
	URI    []byte // without angle brackets; "*" for all bindings
	Params []byte // of the header, not of the URI: ;expires=60;q=0.7
}

// Contacts gives the elements of all Contact headers, in their order.
func (m *Message) Contacts() iter.Seq[Contact] {
	return func(yield func(Contact) bool) { m.eachContact(yield) }
}

func (m *Message) eachContact(yield func(Contact) bool) {
	m.each("contact", func(value []byte) bool {
		var c Contact
		c.URI, c.Params = Address(value)
		return yield(c)
	})
}

// Param gives a parameter as the function Param does: q, +sip.instance (RFC 5626), reg-id, received (a URI in quotes, from registrars
// that know about NAT), pub-gruu.
func (c Contact) Param(name string) (value []byte, ok bool) { return Param(c.Params, name) }

// Expires gives the expires parameter, in seconds; 0 ends the binding. ok is false if there is none, or no number: then the Expires
// header of the message decides, then the registrar.
func (c Contact) Expires() (sec uint32, ok bool) {
	value, _ := c.Param("expires")
	return seconds(value)
}
