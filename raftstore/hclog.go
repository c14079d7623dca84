package raftstore

import (
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newRaftLogger gives raft a logger that ends in ours.
func newRaftLogger(log *zap.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Debug, Output: io.Discard})
	l.RegisterSink(raftSink{log})
	return l
}

// raftSink renders raft's lines: its message as ours, its key-value pairs as one field.
type raftSink struct{ log *zap.Logger }

// chatty are messages that say nothing an operator needs: what they report repeats for as long as a node is down, which the end of its
// control stream has told in one line, or is routine.
var chatty = []string{
	"failed to appendEntries to", "failed to heartbeat to", "failed to contact", "failed to make requestVote RPC", "failed to install snapshot",
	"failed to decode incoming command", "failed to flush response", "failed to accept connection", "failed to send snapshot to",
	"appendEntries rejected", "Election timeout reached", "entering candidate state", "entering follower state", "pre-vote",
	"rejecting pre-vote", "rejecting vote request", "no known peers", "skipping application of old log", "initial configuration",
	"added peer", "heartbeat timeout reached", "starting restore from snapshot", "duplicate requestVote", "pipelining replication",
	"aborting pipeline replication", "snapshot restore progress", "failed to take snapshot", "no logs to truncate", "previous log term",
	"failed to get previous log", "starting snapshot", "compacting logs", "snapshot complete", "updating configuration",
}

// Accept implements hclog.SinkAdapter.
func (s raftSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	l := zapcore.InfoLevel
	switch level {
	case hclog.Trace, hclog.Debug:
		l = zapcore.DebugLevel
	case hclog.Warn:
		l = zapcore.WarnLevel
	case hclog.Error:
		l = zapcore.ErrorLevel
	}
	for _, c := range chatty {
		if strings.HasPrefix(msg, c) {
			l = zapcore.DebugLevel
		}
	}
	if entry := s.log.Check(l, msg); entry != nil {
		entry.Write(zap.String("why", renderArgs(args)))
	}
}

func renderArgs(args []any) string {
	var b strings.Builder
	for i := 0; i+1 < len(args); i += 2 {
		if i > 0 {
			b.WriteByte(' ')
		}
		v := args[i+1]
		if f, ok := v.(hclog.Format); ok && len(f) > 0 {
			if format, ok := f[0].(string); ok {
				v = fmt.Sprintf(format, f[1:]...)
			}
		}
		fmt.Fprintf(&b, "%v=%v", args[i], v)
	}
	return b.String()
}
