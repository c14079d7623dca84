package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor/status"
)

func statusCommand(a *app) *cobra.Command {
	var watch bool
	var out *format
	cmd := &cobra.Command{
		Use: "status", GroupID: groupLook, Short: "Show the pair: who is primary, who could be, what is wrong",
		Long: `Shows the pair as the node on this host knows it. Exit code 0: good; 1: degraded, a primary serves but something needs a
look; 2: no primary, or one whose SIP server is dead; 3: the daemon on this host does not answer.

READY tells whether a member could be primary now; SEEN how old its report is; LEASE what was left of the primary's lease then.`,
		Args: noArgs(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, origin := a.client()
			defer client.Close()
			v := &statusView{ask: client.Snapshot, origin: origin, out: a.stdout, json: out.value == "json", zone: a.zone}
			if watch {
				v.terminal = isTerminal(a.stdout)
				return v.watch(cmd.Context())
			}
			return v.once(cmd.Context())
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again every second and on every change, until interrupted")
	out = outputFlag(cmd)
	return cmd
}

// statusView shows the status, once or for ever.
type statusView struct {
	ask      func(context.Context) (status.Snapshot, error)
	origin   string // of the socket's path
	out      io.Writer
	json     bool
	terminal bool // out is one: the screen is drawn over
	zone     *time.Location
}

func (v *statusView) once(ctx context.Context) error {
	s, err := v.ask(ctx)
	if err != nil {
		return explain(err, v.origin)
	}
	text, err := v.render(s)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(v.out, text); err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	return exitWith(s.Verdict)
}

func exitWith(v status.Verdict) error {
	if code := v.ExitCode(); code != 0 {
		return &exitError{Code: code}
	}
	return nil
}

func (v *statusView) render(s status.Snapshot) (string, error) {
	if !v.json {
		return renderStatus(s, v.zone), nil
	}
	text, err := json.MarshalIndent(s, "", "  ")
	return string(text) + "\n", err
}

const (
	watchEvery = 250 * time.Millisecond // a change is seen this soon
	drawEvery  = time.Second            // what only grows older is drawn this often
)

// watch draws until ctx ends; then the exit code is that of what was seen last.
func (v *statusView) watch(ctx context.Context) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var shown string
	var drawn time.Time
	last := error(&exitError{Code: exitUnreachable})
	for {
		s, err := v.ask(ctx)
		if ctx.Err() != nil {
			return last
		}
		shape, text, failed := v.frame(s, err)
		if failed != nil {
			return failed
		}
		if shape != shown || time.Since(drawn) >= drawEvery {
			if err := v.draw(text); err != nil {
				return fmt.Errorf("write the status: %w", err)
			}
			shown, drawn = shape, time.Now()
		}
		last = exitWith(s.Verdict)
		if err != nil {
			last = &exitError{Code: exitUnreachable}
		}
		select {
		case <-ctx.Done():
			return last
		case <-ticker.C:
		}
	}
}

// frame gives what is to be seen and its shape: what must change for it to be drawn at once.
func (v *statusView) frame(s status.Snapshot, err error) (shape, text string, failed error) {
	if err != nil {
		text = "understudy: " + explain(err, v.origin).Error() + "\n"
		var unreachable *status.Unreachable
		if errors.As(err, &unreachable) {
			text += "  " + unreachable.Hint + "\n"
		}
		if v.json {
			text = ""
		}
		return err.Error(), text, nil
	}
	if v.json {
		line, err := json.Marshal(s)
		return shapeOf(s), string(line) + "\n", err
	}
	text, failed = v.render(s)
	return shapeOf(s), text, failed
}

// shapeOf leaves out what changes all the time.
func shapeOf(s status.Snapshot) string {
	var b strings.Builder
	fmt.Fprint(&b, s.Verdict, s.Epoch, s.Primary, s.Quorum, s.Paused != nil, s.Budget.Left, s.RaftLeader, len(s.Problems))
	for _, n := range s.Nodes {
		fmt.Fprint(&b, "|", n.Name, n.Role, n.State, n.Heard, n.Ready, n.Reasons, n.Server.Class, n.Service.Class)
	}
	return b.String()
}

// draw writes over the last frame on a terminal, line by line so that nothing flickers; elsewhere frames follow each other.
func (v *statusView) draw(text string) error {
	var b bytes.Buffer
	switch {
	case v.json:
		b.WriteString(text)
	case v.terminal:
		b.WriteString("\x1b[H" + strings.ReplaceAll(text, "\n", "\x1b[K\n") + "\x1b[J")
	default:
		b.WriteString(text + "\n")
	}
	_, err := v.out.Write(b.Bytes())
	return err
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
