package sipserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// The processes are searched anew although the sockets are the same, for workers that were started since: at every poll while that
// brings new ones, later rarely, and rarer still where a search is dear, so that it takes a thousandth of a processor at most.
const (
	searchEvery = 10 * time.Second
	searchShare = 1000
)

// patience is how many searches may find nobody before it is believed that the holders of the sockets can't be seen.
const patience = 3

// eyes see sockets and processes.
type eyes struct {
	listened  []Socket
	besides   []Socket
	process   string
	log       *zap.Logger
	diag      *diag
	destroy   *os.File
	destroyed chan struct{}
	exits     chan exit
	wg        sync.WaitGroup

	pidfds  map[int]*os.File
	inodes  map[uint64]bool // of the last scan
	seen    []socket        // the sockets of the last scan that are to be watched
	search  time.Time       // when the next search of all processes is due
	vain    int             // searches in a row that found nobody who holds the sockets
	heirs   heirs
	threads map[int]thread // of the last look
	looked  time.Time
	counted time.Time // when connections were last looked at
}

func openEyes(listened, besides []Socket, process string, log *zap.Logger) (*eyes, error) {
	d, err := openDiag()
	if err != nil {
		return nil, err
	}
	destroy, err := openDestroy(ports(listened))
	if err != nil {
		d.close()
		return nil, err
	}
	return &eyes{
		listened: listened, besides: besides, process: process, log: log, diag: d, destroy: destroy,
		destroyed: make(chan struct{}, 1), exits: make(chan exit, 64), pidfds: map[int]*os.File{},
		heirs: newHeirs(process),
	}, nil
}

// listen passes events to destroyed and exits until ctx ends.
func (e *eyes) listen(ctx context.Context) {
	e.wg.Go(func() { watchDestroyed(ctx, e.destroy, e.destroyed) })
}

// close ends everything that was started. The context given to listen has to be done.
func (e *eyes) close() {
	e.destroy.Close()
	for _, f := range e.pidfds {
		f.Close()
	}
	e.wg.Wait()
	e.diag.close()
}

// scan looks at the sockets and, if these changed, it is time, or asked for, at the processes that hold them. It returns nil if
// there was nothing new to see.
func (e *eyes) scan(ctx context.Context, known []holder, thorough bool) (*sight, error) {
	sockets, err := e.sockets()
	if err != nil {
		return nil, err
	}
	inodes, missing := e.match(sockets)
	if missing != "" { // who holds the rest matters when all is there again
		e.search = time.Time{}
		s := &sight{missing: missing}
		s.lives, s.anew = e.heirs.living(known)
		return s, nil
	}
	nobody := len(known) == 0 && e.vain < patience
	if maps.Equal(inodes, e.inodes) && !thorough && !nobody && time.Now().Before(e.search) {
		return nil, nil
	}
	e.inodes = inodes
	found, err := e.find(inodes)
	if err != nil {
		return nil, err
	}
	s := &sight{holders: e.named(found)}
	if len(found) > 0 && len(s.holders) == 0 {
		s.missing = fmt.Sprintf("no process named %s listens, but %d (%s) does", e.process, found[0].pid, found[0].name)
		s.lives, s.anew = e.heirs.living(known)
	}
	e.heirs.learn(s.holders)
	watched := len(e.pidfds)
	here := e.watch(ctx, s)
	if len(e.pidfds) > watched {
		e.search = time.Time{}
	}
	for _, h := range known {
		if !here[h.pid] && alive(h.pid) { // the end of others comes as an event
			s.gone = append(s.gone, h.pid)
			e.forget(h.pid)
		}
	}
	return s, nil
}

// sockets lists whatever listens on one of the ports.
func (e *eyes) sockets() ([]socket, error) {
	udp, tcp := false, false
	for _, l := range e.listened {
		udp, tcp = udp || l.Transport == "udp", tcp || l.Transport != "udp"
	}
	if len(e.listened) == 0 {
		return nil, nil
	}
	p := ports(e.listened)
	return e.diag.listeners(udp, tcp, p[0], p[len(p)-1])
}

// match finds the sockets that are to be watched, and says what is not there.
func (e *eyes) match(sockets []socket) (inodes map[uint64]bool, missing string) {
	inodes = map[uint64]bool{}
	e.seen = e.seen[:0]
	var none []string
	for _, l := range e.listened {
		found := false
		for _, s := range sockets {
			if !s.serves(l) {
				continue
			}
			if !inodes[s.inode] {
				e.seen = append(e.seen, s)
			}
			inodes[s.inode], found = true, true
		}
		if !found {
			none = append(none, l.String())
		}
	}
	for _, s := range sockets {
		serves := func(l Socket) bool { return s.serves(l) }
		if !inodes[s.inode] && slices.ContainsFunc(e.besides, serves) {
			e.seen = append(e.seen, s)
		}
	}
	if len(none) > 0 {
		missing = "nothing listens on " + strings.Join(none, ", ")
	}
	return inodes, missing
}

// find searches all processes.
func (e *eyes) find(inodes map[uint64]bool) ([]holder, error) {
	var found []holder
	var hidden bool
	var err error
	took := cost(func() { found, hidden, err = findHolders(inodes) })
	if err != nil {
		return nil, fmt.Errorf("search processes: %w", err)
	}
	e.search = time.Now().Add(max(searchEvery, searchShare*took))
	if len(found) > 0 {
		e.vain = 0
	} else if e.vain++; e.vain == patience {
		why := "it lives in another pid namespace"
		if hidden {
			why = "no permission to look: it takes CAP_SYS_PTRACE or the server's user"
		}
		e.log.Warn("cannot see which process holds the sip socket", zap.String("why", why))
	}
	return found, nil
}

func (e *eyes) named(found []holder) []holder {
	if e.process == "" {
		return found
	}
	var all []holder
	for _, h := range found {
		if h.name == e.process {
			all = append(all, h)
		}
	}
	return all
}

// watch watches the processes of s that are not yet watched. Those that ended meanwhile it takes out.
func (e *eyes) watch(ctx context.Context, s *sight) map[int]bool {
	here := map[int]bool{}
	kept := s.holders[:0]
	for _, h := range s.holders {
		if e.pidfds[h.pid] == nil {
			f, err := openProcess(h.pid)
			if errors.Is(err, unix.ESRCH) {
				continue
			}
			if err != nil {
				e.log.Warn("cannot watch a process", zap.NamedError("err", err))
			} else {
				e.pidfds[h.pid] = f
				e.wg.Go(func() { watchExit(ctx, h.pid, f, e.exits) })
			}
		}
		here[h.pid] = true
		kept = append(kept, h)
	}
	s.holders = kept
	return here
}

// forget ends the watch of a process.
func (e *eyes) forget(pid int) {
	if f := e.pidfds[pid]; f != nil {
		f.Close()
		delete(e.pidfds, pid)
	}
}

// look looks at the states of the server's processes.
func (e *eyes) look(known []holder, first bool) looks {
	before, elapsed := e.threads, time.Since(e.looked)
	if first {
		before = nil
	}
	e.threads, e.looked = map[int]thread{}, time.Now()
	l := looks{all: len(known)}
	frozen := freezer{}
	for _, h := range known {
		own := threads(h.pid)
		maps.Copy(e.threads, own)
		switch {
		case halted(own), frozen.holds(h.pid):
			l.stopped++
		case has(own, "R"):
			l.waiting++
		}
	}
	l.starved = starved(before, e.threads, elapsed)
	return l
}

// countEvery is how often connections are looked at while a hang is being decided: the kernel walks through all of them.
const countEvery = 100 * time.Millisecond

// queues looks at the sockets alone: what waits in those that listen, and in connections. counted is false if it was too
// early to look at the latter again.
func (e *eyes) queues() (listening, joined []socket, counted bool, err error) {
	sockets, err := e.sockets()
	if err != nil {
		return nil, nil, false, err
	}
	e.match(sockets)
	tcp := slices.ContainsFunc(e.listened, func(l Socket) bool { return l.Transport != "udp" })
	if !tcp || time.Since(e.counted) < countEvery {
		return e.seen, nil, false, nil
	}
	p := ports(e.listened)
	if joined, err = connections(p[0], p[len(p)-1]); err != nil {
		return nil, nil, false, err
	}
	e.counted = time.Now()
	return e.seen, joined, true, nil
}
