package lab

import (
	"context"
	"fmt"
)

// Phone is a SIP phone at host c that registers at the service address.
type Phone struct {
	User string

	lab  *Lab
	cseq int
}

// Phone makes a phone of a user; it isn't registered yet.
func (l *Lab) Phone(user string) *Phone { return &Phone{User: user, lab: l} }

// Register registers the phone for an hour, sending again until it is answered or ctx ends, and tells which server answered.
func (p *Phone) Register(ctx context.Context) (server string, err error) {
	p.cseq++
	a, err := p.lab.transact(ctx, client, request{
		method: "REGISTER", target: ServiceAddress, user: p.User, cseq: p.cseq,
		lines: fmt.Sprintf("Contact: <sip:%s@%s:%d>;expires=3600\r\n", p.User, Addr(client, SIP), Port),
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("register %s: %w", p.User, err)
	case a.code != 200:
		return "", fmt.Errorf("register %s: %s answered %d", p.User, a.server, a.code)
	}
	return a.server, nil
}
