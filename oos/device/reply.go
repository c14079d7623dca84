package device

import (
	"time"

	"github.com/understudy-sip/understudy/oos/wire"
)

// retryAfter reads the seconds at the start of Retry-After (RFC 3261 20.33), up to longestFailure. Rubbish is none.
func retryAfter(y *wire.Reply) (d time.Duration, ok bool) {
	for _, c := range y.RetryAfter {
		if c < '0' || c > '9' {
			break
		}
		d, ok = min(d*10+time.Duration(c-'0')*time.Second, longestFailure), true
	}
	return d, ok
}
