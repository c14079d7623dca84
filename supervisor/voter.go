package supervisor

import "time"

// voter is a node's vote in the lease: it keeps at most one promise at a time, and that is all that keeps two primaries apart. A lease
// needs the promises of a majority, so two leases at one moment would need one voter with two promises.
//
// Invariants: holder and epoch name the one promise, which stands until until; epoch and closed never go back; before free nothing is
// promised and nothing is closed, because a promise made before a restart may still stand.
type voter struct {
	free   time.Duration // start + the longest promise there is
	epoch  Epoch         // of the standing or last promise
	holder NodeID
	until  time.Duration // end of the promise
	closed Epoch         // this epoch and older ones are never again promised anything
	heard  time.Duration // last renewal of the newest epoch; in the future right after a change of the record
	since  time.Duration // renewals have come without a gap since then
}

// oldest is the oldest epoch that the voter could still promise something, when its record stands at epoch recorded.
func (v *voter) oldest(recorded Epoch) Epoch { return max(recorded, v.epoch, v.closed+1) }

// rest is what is left at now of a promise to anybody but holder.
func (v *voter) rest(now time.Duration, holder NodeID) time.Duration {
	if now < v.free {
		return v.free - now
	}
	if v.holder == holder {
		return 0 // a newer epoch of the same node can't meet an older one of itself
	}
	return max(0, v.until-now)
}

// promise gives holder the voter's promise for epoch e until now+length, or not.
func (v *voter) promise(now time.Duration, holder NodeID, e, recorded Epoch, length time.Duration) bool {
	if e < v.oldest(recorded) || v.rest(now, holder) > 0 || v.epoch == e && v.holder != holder {
		return false
	}
	v.epoch, v.holder = e, holder
	v.until = max(v.until, now+length)
	return true
}

// listen notes a renewal of the epoch's primary. A gap of more than suspect starts the count of since anew.
func (v *voter) listen(now, suspect time.Duration) {
	if now-v.heard > suspect || v.since == 0 {
		v.since = now
	}
	v.heard = now
}

// silent reports whether no renewal has come for longer than suspect.
func (v *voter) silent(now, suspect time.Duration) bool { return now-v.heard > suspect }

// close ends the voter's answers to e for ever. A standing promise still runs out.
func (v *voter) close(e Epoch) { v.closed = max(v.closed, e) }

// release ends the promise to e at once: its holder said that it holds nothing any more.
func (v *voter) release(now time.Duration, e Epoch) {
	v.close(e)
	if v.epoch == e {
		v.until = min(v.until, now)
	}
}
