package registrar

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// What one message of the manager interface may be, in octets; and what one list may be, in messages.
const (
	amiMessageLimit = 256 << 10
	amiListLimit    = 1 << 20
)

// errAMI reports an answer that is none.
var errAMI = errors.New("no message of the manager interface")

// amiMessage is a message of Asterisk's manager interface: lines "Name: value", in their order.
type amiMessage []amiField

type amiField struct{ name, value string }

func (m amiMessage) get(name string) string {
	for _, f := range m {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// parseAMI reads the message that comes next. Lines without a colon are the output of commands, of which we give none.
func parseAMI(r *bufio.Reader) (amiMessage, error) {
	var m amiMessage
	size := 0
	for {
		line, err := boundedLine(r, amiMessageLimit-size)
		if err != nil {
			return nil, err
		}
		size += len(line) + 2
		if line == "" {
			if len(m) == 0 {
				continue // a list's end has one empty line more
			}
			return m, nil
		}
		if name, value, ok := strings.Cut(line, ":"); ok {
			m = append(m, amiField{name, strings.TrimPrefix(value, " ")})
		}
	}
}

// boundedLine reads a line without its end. One that is longer than limit is an error.
func boundedLine(r *bufio.Reader, limit int) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit {
			return "", fmt.Errorf("%w: more than %d octets", errAMI, limit)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) && len(line) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
		return strings.TrimRight(string(line), "\r\n"), nil
	}
}

// amiConnection is a connection that has logged in.
type amiConnection struct {
	conn   net.Conn
	reader *bufio.Reader
	last   uint64 // ActionID
}

// dialAMI connects and logs in. events is the class of events to receive: "system", or "off".
func dialAMI(ctx context.Context, o *AsteriskOptions, events string) (*amiConnection, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", o.Manager)
	if err != nil {
		return nil, err
	}
	a := &amiConnection{conn: conn, reader: bufio.NewReader(conn)}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = a.login(o, events)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("log in to %s: %w", o.Manager, err)
	}
	return a, nil
}

func (a *amiConnection) login(o *AsteriskOptions, events string) error {
	_ = a.conn.SetDeadline(time.Now().Add(o.Limit))
	greeting, err := boundedLine(a.reader, 256)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(greeting, "Asterisk Call Manager/") {
		return fmt.Errorf("%w: greeted by %q", errAMI, printable(greeting))
	}
	if _, err := a.ask(amiMessage{{"Action", "Login"}, {"Username", o.Username}, {"Secret", o.Secret}, {"Events", events}}); err != nil {
		return err
	}
	return a.conn.SetDeadline(time.Time{})
}

// ask gives the answer to an action, or an error with what it says. Events that come before it are dropped.
func (a *amiConnection) ask(action amiMessage) (amiMessage, error) {
	id, err := a.write(action)
	if err != nil {
		return nil, err
	}
	for {
		m, err := parseAMI(a.reader)
		if err != nil {
			return nil, err
		}
		if m.get("Response") == "" || m.get("ActionID") != id {
			continue
		}
		if m.get("Response") != "Success" {
			return m, &amiError{printable(m.get("Message"))}
		}
		return m, nil
	}
}

// list gives the events of a list (main/manager.c: astman_send_listack, astman_send_list_complete_start).
func (a *amiConnection) list(action amiMessage, each func(amiMessage)) error {
	m, err := a.ask(action)
	if err != nil || !strings.EqualFold(m.get("EventList"), "start") {
		return err
	}
	id := m.get("ActionID")
	for range amiListLimit {
		m, err := parseAMI(a.reader)
		if err != nil {
			return err
		}
		switch {
		case m.get("ActionID") != id:
		case strings.EqualFold(m.get("EventList"), "Complete"):
			return nil
		case strings.EqualFold(m.get("EventList"), "Cancelled"):
			return fmt.Errorf("%w: the list is cut short", errAMI)
		default:
			each(m)
		}
	}
	return fmt.Errorf("%w: a list without end", errAMI)
}

func (a *amiConnection) write(action amiMessage) (id string, err error) {
	a.last++
	id = strconv.FormatUint(a.last, 10)
	var s strings.Builder
	for _, f := range append(action, amiField{"ActionID", id}) {
		if !plain(f.value) {
			return "", fmt.Errorf("%s: the value would end its line", f.name)
		}
		s.WriteString(f.name + ": " + f.value + "\r\n")
	}
	s.WriteString("\r\n")
	_, err = io.WriteString(a.conn, s.String())
	return id, err
}

// amiError is an answer that says no. The connection is as good as before.
type amiError struct{ message string }

func (e *amiError) Error() string { return "answered: " + e.message }
