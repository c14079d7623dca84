package nic

import "sync"

// kernel is the eyes of a Watcher: events say where to look, rtnl looks.
type kernel struct {
	*events
	*rtnl
	reader sync.WaitGroup
}

// openKernel works in the network namespace of the calling thread. It subscribes before anybody can look, so that no change is missed.
func openKernel() (*kernel, error) {
	e, err := openEvents(eventBuffer)
	if err != nil {
		return nil, err
	}
	r, err := openRtnl()
	if err != nil {
		e.close() //nolint:errcheck // never used
		return nil, err
	}
	k := &kernel{events: e, rtnl: r}
	k.reader.Go(e.run)
	return k, nil
}

func (k *kernel) close() {
	k.events.close() //nolint:errcheck // ends run
	k.reader.Wait()
	k.rtnl.close()
}
