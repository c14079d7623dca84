package traffic

import (
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/raw"
)

// source is where messages come from: an interface, or a socket for HEP.
type source interface {
	name() string
	// open begins; ready is to be called when something can be read. After an error nothing is open.
	open(p *raw.Poller, ready func() error) error
	// read takes everything that has arrived. An error says that the source has ended.
	read() error
	close() error
}

// keeper opens a source, and again when it ended, with pauses that grow.
type keeper struct {
	source
	m      *Monitor
	isOpen bool
	broken bool // and told so
	pause  time.Duration
	retry  time.Duration // when to open next, while it is not open
}

const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Second
)

// start opens the source if it is time to.
func (k *keeper) start(now time.Duration) {
	if k.isOpen || now < k.retry {
		return
	}
	if err := k.open(k.m.poller, k.ready); err != nil {
		k.fail(err, now)
		return
	}
	k.isOpen, k.pause = true, 0
	k.m.updateCapturing() // before anybody is told and looks
	if k.broken {
		k.broken = false
		k.m.tracker.lost(now)
		k.m.log.Info("capture works again", zap.String("link", k.name()))
		k.m.report(Event{Kind: CaptureBack, Source: k.name()})
	}
}

// ready is called by the poller.
func (k *keeper) ready() error {
	k.drain()
	k.m.schedule(raw.Clock())
	return nil
}

// drain reads what there is.
func (k *keeper) drain() {
	if !k.isOpen {
		return
	}
	if err := k.read(); err != nil {
		k.isOpen = false
		if closeErr := k.close(); closeErr != nil {
			k.m.log.Warn("close a capture", zap.String("link", k.name()), zap.Error(closeErr))
		}
		k.fail(err, raw.Clock())
	}
}

// fail tells of the first of several failures, and plans the next attempt.
func (k *keeper) fail(err error, now time.Duration) {
	k.pause = min(max(2*k.pause, firstPause), lastPause)
	k.retry = now + k.pause
	k.m.updateCapturing()
	if !k.broken {
		k.broken = true
		k.m.log.Warn("capture broke", zap.String("link", k.name()), zap.Error(err))
		k.m.report(Event{Kind: CaptureBroke, Source: k.name(), Err: err})
	}
}
