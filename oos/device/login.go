package device

import (
	"bytes"
	"errors"
	"strings"

	"github.com/icholy/digest"

	"github.com/understudy-sip/understudy/oos/wire"
)

// longestChallenge bounds what of a challenge is repeated to the device.
const longestChallenge = 1024

// login answers the challenges of one device (RFC 3261 22, RFC 8760), and those that stand beforehand.
type login struct {
	Credentials
	uri      string
	standing *digest.Challenge // nil: none yet
	header   string            // that answers it
	count    int               // how often it was
	probe    uint32            // the probe that a challenge was answered in
	taken    bool
}

// errRefused says that the device challenges although its challenge was answered.
var errRefused = errors.New("credentials not accepted")

// challenged takes a 401 or 407 to a request of a probe. Without an error it is to be asked again, once a probe.
func (l *login) challenged(y *wire.Reply, probe uint32) error {
	if l.taken && l.probe == probe {
		return errRefused
	}
	err := errors.New("no challenge that can be answered")
	for _, value := range y.Challenges {
		if len(value) == 0 || len(value) > longestChallenge {
			continue
		}
		text := string(bytes.Map(func(r rune) rune {
			if r < ' ' {
				return ' '
			}
			return r
		}, value))
		c, parseErr := digest.ParseChallenge(text)
		if parseErr != nil {
			continue
		}
		for i := range c.QOP {
			c.QOP[i] = strings.TrimSpace(c.QOP[i])
		}
		if !digest.CanDigest(c) {
			continue
		}
		l.standing, l.count, l.probe, l.taken = c, 0, probe, true
		if l.header = "Authorization: "; y.Code == 407 {
			l.header = "Proxy-Authorization: "
		}
		return nil
	}
	return err
}

// answer gives the header of the next request, with its line end; empty while nobody has challenged.
func (l *login) answer() string {
	if l == nil || l.standing == nil {
		return ""
	}
	l.count++
	c, err := digest.Digest(l.standing, digest.Options{
		Method: "OPTIONS", URI: l.uri, Username: l.User, Password: l.Password, Count: l.count,
	})
	if err != nil { // CanDigest said that it could
		l.standing = nil
		return ""
	}
	return l.header + c.String() + "\r\n"
}
