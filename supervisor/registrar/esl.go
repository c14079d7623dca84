package registrar

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// What the head and the body of one packet may be, in octets.
const (
	eslHeadLimit = 64 << 10
	eslBodyLimit = 4 << 20
)

// errESL reports a packet that is none, or not the one that should have come.
var errESL = errors.New("no packet of the event socket")

// eslPacket is a packet of FreeSWITCH's event socket (mod_event_socket.c): lines "Name: value", an empty line, and a body as long as they say.
type eslPacket struct {
	fields amiMessage
	body   string
}

func (p eslPacket) get(name string) string { return p.fields.get(name) }

// parseESL reads the packet that comes next.
func parseESL(r *bufio.Reader) (eslPacket, error) {
	var p eslPacket
	for size := 0; ; {
		line, err := boundedLine(r, eslHeadLimit-size)
		if err != nil {
			return eslPacket{}, err
		}
		size += len(line) + 1
		if line == "" {
			if len(p.fields) == 0 {
				continue // Reply-Text: may end with one line too many
			}
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return eslPacket{}, fmt.Errorf("%w: %q", errESL, printable(line))
		}
		p.fields = append(p.fields, amiField{name, strings.TrimPrefix(value, " ")})
	}
	length := p.get("Content-Length")
	if length == "" {
		return p, nil
	}
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || n > eslBodyLimit {
		return eslPacket{}, fmt.Errorf("%w: Content-Length %q", errESL, printable(length))
	}
	var body strings.Builder
	if m, err := io.CopyN(&body, r, int64(n)); m < int64(n) {
		return eslPacket{}, errors.Join(io.ErrUnexpectedEOF, err)
	}
	p.body = body.String()
	return p, nil
}

// event reads an event out of the body: lines whose values are written as in URLs (switch_event.c: switch_event_serialize).
func (p eslPacket) event() (amiMessage, bool) {
	if p.get("Content-Type") != "text/event-plain" {
		return nil, false
	}
	var m amiMessage
	for line := range strings.SplitSeq(p.body, "\n") {
		if line == "" {
			break // what follows is the event's own body
		}
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			return nil, false
		}
		if decoded, err := url.PathUnescape(value); err == nil {
			value = decoded
		}
		if value == "_undef_" { // its way to write what is empty
			value = ""
		}
		m = append(m, amiField{name, value})
	}
	return m, true
}

// eslConnection is a connection that has shown its password.
type eslConnection struct {
	conn   net.Conn
	reader *bufio.Reader
}

func dialESL(ctx context.Context, o *FreeSWITCHOptions) (*eslConnection, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", o.Socket)
	if err != nil {
		return nil, err
	}
	e := &eslConnection{conn: conn, reader: bufio.NewReader(conn)}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(o.Limit))
	err = e.login(o.Password)
	_ = conn.SetDeadline(time.Time{})
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("log in to %s: %w", o.Socket, err)
	}
	return e, nil
}

func (e *eslConnection) login(password string) error {
	p, err := parseESL(e.reader)
	if err != nil {
		return err
	}
	if kind := p.get("Content-Type"); kind != "auth/request" { // text/rude-rejection: its access list does not want us
		return fmt.Errorf("%w: %s: %s", errESL, printable(kind), printable(p.body))
	}
	_, err = e.command("auth " + password)
	return err
}

// command gives the reply to a command with its own lines; or what it says if that is not "+OK". Events that come before it are dropped.
func (e *eslConnection) command(lines ...string) (string, error) {
	p, err := e.ask(lines, "command/reply")
	if err != nil {
		return "", err
	}
	text := p.get("Reply-Text")
	if !strings.HasPrefix(text, "+OK") {
		return "", &eslError{printable(text)}
	}
	return text, nil
}

// api gives what a command prints.
func (e *eslConnection) api(command string) (string, error) {
	p, err := e.ask([]string{"api " + command}, "api/response")
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(p.body, "-ERR") {
		return "", &eslError{printable(p.body)}
	}
	return p.body, nil
}

func (e *eslConnection) ask(lines []string, kind string) (eslPacket, error) {
	for _, line := range lines {
		if line == "" || !plain(line) {
			return eslPacket{}, &eslError{"a value would end its line"}
		}
	}
	if _, err := io.WriteString(e.conn, strings.Join(lines, "\n")+"\n\n"); err != nil {
		return eslPacket{}, err
	}
	for {
		p, err := parseESL(e.reader)
		if err != nil {
			return eslPacket{}, err
		}
		switch got := p.get("Content-Type"); got {
		case kind:
			return p, nil
		case "text/event-plain", "log/data":
		case "command/reply": // not allowed to: "-ERR ..."
			return eslPacket{}, &eslError{printable(p.get("Reply-Text"))}
		default: // text/disconnect-notice
			return eslPacket{}, fmt.Errorf("%w: %s", errESL, printable(got))
		}
	}
}

// eslError is an answer that says no. The connection is as good as before.
type eslError struct{ message string }

func (e *eslError) Error() string { return "answered: " + e.message }
