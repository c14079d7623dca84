package registrar

import (
	"context"
	"net"
	"strings"
	"time"
)

// socketsFor is how long the list of the server's sockets holds: only a restart changes it.
const socketsFor = 10 * time.Second

// translated gives this server's counterpart of the other member's socket: the configured one, the same, or the first with the same
// transport and kind of address. Never one that the server does not have: it would store its replay listener instead, and calls would
// leave from loopback.
func (k *Kamailio) translated(ctx context.Context, socket string) (string, error) {
	if socket == "" {
		return "", nil
	}
	local, err := k.localSockets(ctx)
	if err != nil {
		return "", err
	}
	return counterpartOf(strings.ToLower(socket), k.translate, local), nil
}

func counterpartOf(socket string, translate map[string]string, local []string) string {
	if to, ok := translate[socket]; ok {
		socket = to
	}
	var first string
	transport, _, _ := strings.Cut(socket, ":")
	for _, s := range local {
		if s == socket {
			return s
		}
		if first == "" && strings.HasPrefix(s, transport+":") && strings.Contains(s, "[") == strings.Contains(socket, "[") {
			first = s
		}
	}
	return first
}

// localSockets are the sockets that the server has, but for the replay listener, named as in its bindings.
func (k *Kamailio) localSockets(ctx context.Context) ([]string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.options.Now()
	if k.sockets != nil && now-k.socketsAt < socketsFor {
		return k.sockets, nil
	}
	var list []struct {
		Socket struct {
			Proto   string `json:"proto"`
			Address string `json:"address"`   // as it is configured
			IP      string `json:"ipaddress"` // missing where several addresses share a socket
			Port    string `json:"port"`
		} `json:"socket"`
	}
	if err := k.rpc.call(ctx, &list, "core.sockets_list"); err != nil {
		return nil, err
	}
	sockets := []string{}
	for _, l := range list {
		host := l.Socket.IP
		if host == "" {
			host = l.Socket.Address
		}
		s := strings.ToLower(l.Socket.Proto + ":" + net.JoinHostPort(host, l.Socket.Port))
		if s != "udp:"+k.options.Replay.String() {
			sockets = append(sockets, s)
		}
	}
	k.sockets, k.socketsAt = sockets, now
	return sockets, nil
}
