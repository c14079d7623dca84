package registrar

import (
	"context"
	"errors"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// Hint says that an address of record has changed at the server.
type Hint struct {
	AOR    string // as the server calls it: "1001@example.net", or "1001" where it does not look at domains
	CallID string // of the REGISTER that changed it, if that is known
	CSeq   uint32 // likewise

	// Bindings are the state after the change, for servers that can't be asked; Known says that they are it.
	Bindings []location.Binding
	Known    bool
}

// Server is a registrar. Its methods may be called from several goroutines, but Apply not twice at a time for one address of record. Moments
// of expiry are on the clock that it was made with.
type Server interface {
	// Lookup asks for the bindings of an address of record; none if it is not registered. ErrCannotAsk says that this server can't be asked.
	Lookup(ctx context.Context, aor string) ([]location.Binding, error)
	// Apply makes the server's bindings of an address of record those wanted: it adds, refreshes and removes. Applying the same twice changes
	// nothing. It gives what could not be made equal.
	Apply(ctx context.Context, aor string, want []location.Binding) error
	// Watch calls hint for each change that the server tells of, until ctx ends. ErrNoPush says that this server tells nothing.
	Watch(ctx context.Context, hint func(Hint)) error
	// Generation changes when the server has started anew, and so may have lost what it was told.
	Generation(ctx context.Context) (string, error)
	// Count is how many bindings the server has, cheaply. ErrCannotAsk says that it can't be asked.
	Count(ctx context.Context) (int, error)
}

// Namer is a Server that may call an address of record otherwise than "user@domain".
type Namer interface {
	// Name is what the server calls one.
	Name(ctx context.Context, aor string) (string, error)
}

var (
	// ErrCannotAsk reports a server that can't be asked for what it has.
	ErrCannotAsk = errors.New("this server can't be asked for its registrations")
	// ErrNoPush reports a server that does not tell of changes by itself.
	ErrNoPush = errors.New("this server does not tell of changes")
)
