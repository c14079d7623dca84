package alarm

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Journal is a reaction that writes each notice to systemd's journal, by its native protocol. `journalctl MESSAGE_ID=` with one of the
// two numbers below finds them; the fields begin with UNDERSTUDY_.
type Journal struct {
	Socket string // empty: /run/systemd/journal/socket
}

// The journal's numbers of our messages (systemd.journal-fields(7), MESSAGE_ID).
const (
	JournalRaised  = "6e1a3d8c0b5f4a7c9d2e8f40b7c1a5d3"
	JournalCleared = "b94f0c2e7d164e55a3f87a1c60d2e9b8"
)

func (j *Journal) path() string {
	if j.Socket == "" {
		return "/run/systemd/journal/socket"
	}
	return j.Socket
}

func (j *Journal) validate(*Options) error {
	if !strings.HasPrefix(j.path(), "/") {
		return fmt.Errorf("socket %q: give its absolute path", j.Socket)
	}
	return nil
}

type journalSender struct{ path string }

func (s *journalSender) send(ctx context.Context, n Notice) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unixgram", s.path)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetWriteDeadline(deadline)
	}
	if _, err := conn.Write(journalEntry(n)); err != nil {
		return fmt.Errorf("write to the journal: %w", err)
	}
	return nil
}

// journalEntry is the datagram: NAME=value lines; a value with a new line has its length before it instead.
func journalEntry(n Notice) []byte {
	id := JournalRaised
	if n.Event == Cleared {
		id = JournalCleared
	}
	a := n.Alarm
	fields := append([]string{
		"MESSAGE=" + n.Why, "MESSAGE_ID=" + id, "PRIORITY=" + strconv.Itoa(syslogSeverity(n.Perceived)), "SYSLOG_IDENTIFIER=understudy",
		"UNDERSTUDY_ALARM_EVIDENCE=" + a.Evidence, "UNDERSTUDY_ALARM_COUNT=" + strconv.Itoa(a.Count),
	}, n.environ()...)
	var b bytes.Buffer
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		if strings.Contains(value, "\n") {
			b.WriteString(name + "\n")
			_ = binary.Write(&b, binary.LittleEndian, uint64(len(value))) // to a Buffer: never fails
			b.WriteString(value + "\n")
			continue
		}
		b.WriteString(f + "\n")
	}
	return b.Bytes()
}
