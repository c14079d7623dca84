package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-sip/understudy/supervisor"
)

// Client talks to the daemon on this host. Its methods return an *Error for a refusal and an *Unreachable if nobody answers.
type Client struct {
	socket string
	http   *http.Client
}

const (
	askTimeout = 3 * time.Second
	maxAnswer  = 4 << 20
)

// NewClient gives a client for the daemon that listens on a socket. It connects when first used.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConns: 1}}}
}

// Close lets go of an idle connection.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Snapshot asks how the pair is.
func (c *Client) Snapshot(ctx context.Context) (Snapshot, error) {
	return call[Snapshot](ctx, c, http.MethodGet, "/v1/status", nil, askTimeout)
}

// History asks for the switchovers that the record keeps, oldest first.
func (c *Client) History(ctx context.Context) ([]supervisor.Switchover, error) {
	answer, err := call[HistoryResponse](ctx, c, http.MethodGet, "/v1/history", nil, askTimeout)
	return answer.History, err
}

// Explain asks why the role is where it is.
func (c *Client) Explain(ctx context.Context) (supervisor.Explanation, error) {
	return call[supervisor.Explanation](ctx, c, http.MethodGet, "/v1/explain", nil, askTimeout)
}

// Switchover asks for a planned switchover, or what it would do.
func (c *Client) Switchover(ctx context.Context, r SwitchoverRequest) (SwitchoverResponse, error) {
	return call[SwitchoverResponse](ctx, c, http.MethodPost, "/v1/switchover", r, orderTimeout+readTimeout)
}

// Pause suspends automatic switchovers.
func (c *Client) Pause(ctx context.Context, r PauseRequest) (supervisor.Pause, error) {
	return call[supervisor.Pause](ctx, c, http.MethodPost, "/v1/pause", r, orderTimeout+readTimeout)
}

// Resume ends a pause. Without one it changes nothing.
func (c *Client) Resume(ctx context.Context, r ResumeRequest) (ResumeResponse, error) {
	return call[ResumeResponse](ctx, c, http.MethodPost, "/v1/resume", r, orderTimeout+readTimeout)
}

// Alarms asks for the active alarms of the pair, the gravest first.
func (c *Client) Alarms(ctx context.Context) ([]Alarm, error) {
	answer, err := call[AlarmsResponse](ctx, c, http.MethodGet, "/v1/alarms", nil, askTimeout)
	return answer.Alarms, err
}

// EndedAlarms asks for the last of the alarms that have ended, the newest end first.
func (c *Client) EndedAlarms(ctx context.Context) ([]Alarm, error) {
	answer, err := call[AlarmsResponse](ctx, c, http.MethodGet, "/v1/alarms/ended", nil, askTimeout)
	return answer.Alarms, err
}

// RaiseAlarm raises an alarm, or counts one more detection of an active one.
func (c *Client) RaiseAlarm(ctx context.Context, r RaiseAlarmRequest) (AlarmOrderResponse, error) {
	return call[AlarmOrderResponse](ctx, c, http.MethodPost, "/v1/alarms/raise", r, orderTimeout+readTimeout)
}

// ClearAlarm ends an active alarm.
func (c *Client) ClearAlarm(ctx context.Context, r AlarmOrderRequest) (AlarmOrderResponse, error) {
	return call[AlarmOrderResponse](ctx, c, http.MethodPost, "/v1/alarms/clear", r, orderTimeout+readTimeout)
}

// AckAlarm says that somebody takes care of an active alarm, which stays active.
func (c *Client) AckAlarm(ctx context.Context, r AlarmOrderRequest) (AlarmOrderResponse, error) {
	return call[AlarmOrderResponse](ctx, c, http.MethodPost, "/v1/alarms/ack", r, orderTimeout+readTimeout)
}

// Unreachable says that no daemon answers on the socket, and Hint what to do about it.
type Unreachable struct {
	Socket string
	Hint   string
	Err    error
}

func (u *Unreachable) Error() string {
	return fmt.Sprintf("no daemon answers on %s: %v", u.Socket, u.Err)
}

func (u *Unreachable) Unwrap() error { return u.Err }

func (c *Client) unreachable(err error) *Unreachable {
	hint := "see whether it hangs: `systemctl status understudy`, `journalctl -u understudy`"
	var reason = err
	var errno unix.Errno
	if errors.As(err, &errno) {
		reason = errno
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		hint = "start it: `systemctl start understudy`; if it listens elsewhere, name the socket with --socket"
	case errors.Is(err, unix.ECONNREFUSED):
		hint = "it has died or is being restarted: `systemctl status understudy`, `journalctl -u understudy`"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		hint = "become root or a member of the group that owns the socket: `usermod -aG understudy $USER`, then log in again"
	case errors.Is(err, context.DeadlineExceeded):
		reason = errors.New("no answer in time")
	}
	return &Unreachable{Socket: c.socket, Hint: hint, Err: reason}
}

func call[T any](ctx context.Context, c *Client, method, path string, body any, timeout time.Duration) (T, error) {
	var answer T
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return answer, fmt.Errorf("encode the request: %w", err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://understudy"+path, bytes.NewReader(text))
	if err != nil {
		return answer, fmt.Errorf("make the request: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer, c.unreachable(err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end or given up
	text, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer, c.unreachable(err)
	}
	if response.StatusCode != http.StatusOK {
		refusal := &Error{Status: response.StatusCode}
		if json.Unmarshal(text, refusal) != nil || refusal.Message == "" {
			refusal.Message = fmt.Sprintf("the daemon answered %s", response.Status)
		}
		return answer, refusal
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return answer, fmt.Errorf("read the daemon's answer: %w", err)
	}
	return answer, nil
}
