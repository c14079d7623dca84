package registrar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-sip/understudy/supervisor/location"
)

// ExecCommand is one run of a program.
type ExecCommand struct {
	Argv  []string
	Stdin []byte
	Limit time.Duration // it is to be ended after that
}

// ExecResult is how a program ended.
type ExecResult struct {
	Code    int    // its exit code; meaningless with Err
	Output  []byte // what it wrote
	Partial bool   // it wrote more than that
	Err     error  // why it did not exit by itself: not started, over its limit, ctx ended
}

// ExecOptions say which programs of the operator know the server. They are run without a shell.
type ExecOptions struct {
	Apply  []string // the program's absolute path, then its arguments
	Lookup []string // likewise; empty: the server can't be asked

	Run    func(context.Context, ExecCommand) ExecResult
	Check  func(path string) error // whether a program may be run; nil: any may
	Limit  time.Duration
	Now    func() time.Duration // the clock of location.Binding.Expires
	Logger *zap.Logger
}

// DefaultExecOptions are options that lack the programs and who runs them.
func DefaultExecOptions() ExecOptions {
	return ExecOptions{Limit: 10 * time.Second, Logger: zap.NewNop()}
}

func (o *ExecOptions) validate() error {
	var errs []error
	for _, argv := range [][]string{o.Apply, o.Lookup} {
		switch {
		case len(argv) == 0:
		case !filepath.IsAbs(argv[0]):
			errs = append(errs, fmt.Errorf("%q: give the program's absolute path", argv))
		case o.Check != nil:
			errs = append(errs, o.Check(argv[0]))
		}
	}
	if len(o.Apply) == 0 {
		errs = append(errs, errors.New("no program to apply with"))
	}
	if o.Run == nil {
		errs = append(errs, errors.New("nobody runs programs here"))
	}
	if o.Limit <= 0 {
		errs = append(errs, errors.New("no time limit"))
	}
	if o.Now == nil || o.Logger == nil {
		errs = append(errs, errors.New("no clock or no logger"))
	}
	return errors.Join(errs...)
}

// Exec is a server that programs of the operator know how to write to, and maybe to read from.
//
// The program gets an object as JSON on its standard input: {"version": 1, "action": "apply", "aor": "1001@example.net", "bindings": [...]},
// all of them, and makes the server have these and no others. Exit code 0 says that it has; any other that it has not, and that it is to
// be run again later. With the action "lookup" it writes {"bindings": [...]} to its standard output, and nothing to standard error.
type Exec struct{ options ExecOptions }

var _ Server = (*Exec)(nil)

// NewExec makes the adapter.
func NewExec(o ExecOptions) (*Exec, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	return &Exec{options: o}, nil
}

// ExecBinding is a binding as programs read and write it. What is left out is empty or unknown.
type ExecBinding struct {
	Contact   string  `json:"contact"`
	ExpiresIn int     `json:"expires_in"`  // seconds
	Q         *int    `json:"q,omitempty"` // thousandths
	CallID    string  `json:"call_id,omitempty"`
	CSeq      uint32  `json:"cseq,omitempty"`
	UserAgent string  `json:"user_agent,omitempty"`
	Received  string  `json:"received,omitempty"`
	Path      string  `json:"path,omitempty"`
	Socket    string  `json:"socket,omitempty"`
	Instance  string  `json:"instance,omitempty"`
	RegID     uint32  `json:"reg_id,omitempty"`
	Flags     uint32  `json:"flags,omitempty"`
	Branch    uint32  `json:"branch_flags,omitempty"`
	Methods   *uint32 `json:"methods,omitempty"`
}

type execRequest struct {
	Version  int            `json:"version"`
	Action   string         `json:"action"`
	AOR      string         `json:"aor"`
	Bindings *[]ExecBinding `json:"bindings,omitempty"`
}

func forProgram(b *location.Binding, now time.Duration) ExecBinding {
	e := ExecBinding{
		Contact: b.Contact, ExpiresIn: remaining(b, now), CallID: b.CallID, CSeq: b.CSeq, UserAgent: b.UserAgent, Received: b.Received, Path: b.Path,
		Socket: b.Socket, Instance: b.Instance, RegID: b.RegID, Flags: b.Flags, Branch: b.Branch,
	}
	if b.Q != location.NoQ {
		e.Q = &b.Q
	}
	if b.Methods != location.AllMethods {
		e.Methods = &b.Methods
	}
	return e
}

func (e *ExecBinding) binding(now time.Duration) (location.Binding, error) {
	if e.Contact == "" || e.ExpiresIn <= 0 || e.ExpiresIn > 1<<31-1 || (e.Q != nil && (*e.Q < 0 || *e.Q > 1000)) {
		return location.Binding{}, errors.New("a binding without contact or time left, or with an impossible q")
	}
	b := location.Binding{
		Contact: e.Contact, Q: location.NoQ, CallID: e.CallID, CSeq: e.CSeq, UserAgent: e.UserAgent, Received: e.Received, Path: e.Path,
		Socket: e.Socket, Instance: e.Instance, RegID: e.RegID, Flags: e.Flags, Branch: e.Branch, Methods: location.AllMethods,
		Expires: now + time.Duration(e.ExpiresIn)*time.Second,
	}
	if e.Q != nil {
		b.Q = *e.Q
	}
	if e.Methods != nil {
		b.Methods = *e.Methods
	}
	return b, nil
}

// Apply runs the program that applies.
func (e *Exec) Apply(ctx context.Context, aor string, want []location.Binding) error {
	now := e.options.Now()
	bindings := []ExecBinding{} // an empty list, not null: it means to remove all
	for _, b := range unexpired(want, now) {
		bindings = append(bindings, forProgram(&b, now))
	}
	_, err := e.run(ctx, e.options.Apply, execRequest{Version: 1, Action: "apply", AOR: aor, Bindings: &bindings})
	return err
}

// Lookup runs the program that looks up.
func (e *Exec) Lookup(ctx context.Context, aor string) ([]location.Binding, error) {
	if len(e.options.Lookup) == 0 {
		return nil, ErrCannotAsk
	}
	output, err := e.run(ctx, e.options.Lookup, execRequest{Version: 1, Action: "lookup", AOR: aor})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Bindings []ExecBinding `json:"bindings"`
	}
	decoder := json.NewDecoder(bytes.NewReader(output))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&answer); err != nil || answer.Bindings == nil || decoder.More() {
		return nil, fmt.Errorf("%s: its output is no object with bindings, or not that alone", e.options.Lookup[0])
	}
	now := e.options.Now()
	var bindings []location.Binding
	for i := range answer.Bindings {
		b, err := answer.Bindings[i].binding(now)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.options.Lookup[0], err)
		}
		bindings = append(bindings, b)
	}
	return bindings, nil
}

// run gives what the program wrote. An error does not say it: it may name people.
func (e *Exec) run(ctx context.Context, argv []string, request execRequest) ([]byte, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", argv[0], err)
	}
	r := e.options.Run(ctx, ExecCommand{Argv: argv, Stdin: append(body, '\n'), Limit: e.options.Limit})
	switch {
	case r.Err != nil:
		err = fmt.Errorf("%s: %w", argv[0], r.Err)
	case r.Code != 0:
		err = fmt.Errorf("%s: exit code %d", argv[0], r.Code)
	case r.Partial && request.Action == "lookup":
		err = fmt.Errorf("%s: its output is too long", argv[0])
	}
	if err != nil && len(r.Output) > 0 {
		e.options.Logger.Debug("the program said", zap.Int("code", r.Code), zap.String("why", printable(string(r.Output))))
	}
	return r.Output, err
}

// Watch can't be had: hints come from the wire.
func (e *Exec) Watch(context.Context, func(Hint)) error { return ErrNoPush }

// Generation can't be had.
func (e *Exec) Generation(context.Context) (string, error) { return "", ErrCannotAsk }

// Count can't be had.
func (e *Exec) Count(context.Context) (int, error) { return 0, ErrCannotAsk }
