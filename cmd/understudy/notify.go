package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// Notifier tells the service manager how the daemon is, by the protocol of sd_notify(3). Without a service manager it does nothing.
type Notifier struct {
	conn     net.Conn
	watchdog time.Duration // how long the service manager waits for a sign of life; 0: it does not
}

// newNotifier finds the service manager in the environment, and removes it from there so that no hook speaks in our name.
func newNotifier() (*Notifier, error) {
	socket := os.Getenv("NOTIFY_SOCKET")
	watchdog := watchdogOf(os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID"))
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, fmt.Errorf("remove %s from the environment: %w", name, err)
		}
	}
	if socket == "" {
		return &Notifier{}, nil
	}
	conn, err := net.Dial("unixgram", socket) // a leading @ is the abstract namespace to Go too
	if err != nil {
		return nil, fmt.Errorf("reach the service manager: %w", err)
	}
	return &Notifier{conn: conn, watchdog: watchdog}, nil
}

func watchdogOf(usec, pid string) time.Duration {
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return time.Duration(n) * time.Microsecond
}

// Ready says that start-up is over.
func (n *Notifier) Ready(status string) { n.send("READY=1\nSTATUS=" + printable(status)) }

// Status is the one line that `systemctl status` shows.
func (n *Notifier) Status(text string) { n.send("STATUS=" + printable(text)) }

// Stopping says that the end has begun.
func (n *Notifier) Stopping() { n.send("STOPPING=1\nSTATUS=leaving") }

// Watch gives signs of life until ctx ends, as long as alive says so. When it no longer does, the service manager kills the process
// and starts it anew; the kernel's fence has taken the address long before.
func (n *Notifier) Watch(ctx context.Context, alive func() bool) {
	if n.watchdog == 0 {
		return
	}
	ticker := time.NewTicker(n.watchdog / 3)
	defer ticker.Stop()
	for {
		if alive() {
			n.send("WATCHDOG=1")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Close ends the conversation.
func (n *Notifier) Close() {
	if n.conn != nil {
		_ = n.conn.Close()
	}
}

// send never holds the daemon up: a service manager that does not read loses what it does not read.
func (n *Notifier) send(text string) {
	if n.conn == nil {
		return
	}
	_ = n.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = n.conn.Write([]byte(text))
}
