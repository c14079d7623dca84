package vip

import (
	"net/netip"
	"sync"
)

// letter is something that another goroutine tells a Monitor: a view, a member's MAC, or an order to announce.
type letter struct {
	view     *View
	member   MAC
	announce bool
	to       netip.Addr
	mac      MAC
}

// post keeps letters until they are taken. What comes when it is full is lost.
type post struct {
	wake chan struct{} // holds one token while there may be something to do

	mu      sync.Mutex
	letters []letter
}

const postLimit = 64

func newPost() post { return post{wake: make(chan struct{}, 1)} }

func (p *post) add(l letter) {
	p.mu.Lock()
	if len(p.letters) < postLimit {
		p.letters = append(p.letters, l)
	}
	p.mu.Unlock()
	p.knock()
}

func (p *post) knock() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *post) take() []letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.letters
	p.letters = nil
	return all
}
