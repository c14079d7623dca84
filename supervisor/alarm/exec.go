package alarm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// Exec is a reaction that runs a program, with the Notice as JSON on its standard input and the most important of it in its
// environment. It runs once for each notice: an exit code other than 0 is logged.
type Exec struct {
	Argv []string // the program's absolute path, then its arguments; no shell
}

// Command is one run of a program.
type Command struct {
	Argv  []string
	Env   []string // KEY=value
	Stdin []byte
	Limit time.Duration // it is to be ended after that
}

// Result is how a program ended.
type Result struct {
	Code   int    // its exit code; meaningless with Err
	Output []byte // what it wrote, for people
	Err    error  // why it did not exit by itself: not started, over its limit, ctx ended
}

func (x *Exec) validate(o *Options) error {
	if len(x.Argv) == 0 || !filepath.IsAbs(x.Argv[0]) {
		return fmt.Errorf("exec %q: give the program's absolute path", x.Argv)
	}
	if o.Exec == nil {
		return errors.New("exec: nobody runs programs here")
	}
	if o.Check != nil {
		return o.Check(x.Argv[0])
	}
	return nil
}

type execSender struct {
	x     Exec
	run   func(context.Context, Command) Result
	limit time.Duration
}

func (s *execSender) send(ctx context.Context, n Notice) error {
	body, err := n.body()
	if err != nil {
		return permanent(err)
	}
	r := s.run(ctx, Command{Argv: s.x.Argv, Env: n.environ(), Stdin: body, Limit: s.limit})
	if r.Err == nil && r.Code != 0 {
		r.Err = fmt.Errorf("%s: exit code %d", s.x.Argv[0], r.Code)
	}
	if r.Err == nil {
		return nil
	}
	if line, _, _ := bytes.Cut(bytes.TrimSpace(r.Output), []byte("\n")); len(line) > 0 {
		r.Err = fmt.Errorf("%w: %s", r.Err, line[:min(len(line), 200)])
	}
	return permanent(r.Err)
}
