package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-sip/understudy/supervisor/status"
)

// client gives a client for the daemon on this host, and where its socket's path came from.
func (a *app) client() (*status.Client, string) {
	socket, origin := a.socketPath()
	return status.NewClient(socket), origin
}

// socketPath: the flag, else the configuration, else the default. A mistake elsewhere in the file keeps nobody from asking the
// daemon, which runs with the file as it was.
func (a *app) socketPath() (path, origin string) {
	if a.socket != "" {
		return a.socket, "the path is from --socket"
	}
	c := defaultConfig()
	text, err := readConfig(a.config)
	if err != nil {
		return c.API.Socket, "the default path, because " + because(err)
	}
	d := newDecoder(a.config)
	root := d.document(text)
	if root == nil {
		return c.API.Socket, "the default path, because " + because(d.problems)
	}
	d.value(root, "", reflect.ValueOf(&c).Elem(), "")
	if !d.fine("api.socket") {
		return defaultConfig().API.Socket, "the default path, because api.socket is wrong in " + a.config
	}
	s := &Setup{written: c}
	d.checkSelf(s, a.identity())
	return forNode(c.API.Socket, s.Self), "the path is api.socket in " + a.config
}

func because(err error) string {
	var problems Problems
	if !errors.As(err, &problems) {
		return err.Error()
	}
	p := problems[0]
	p.Todo = ""
	return p.String()
}

// explain adds to "nobody answers" where the path of the socket came from.
func explain(err error, origin string) error {
	var unreachable *status.Unreachable
	if errors.As(err, &unreachable) {
		return fmt.Errorf("%w (%s)", err, origin)
	}
	return err
}

// claimedUser is who sits behind sudo; the daemon believes it from root.
func claimedUser() string { return os.Getenv("SUDO_USER") }

// completeMembers offers the members that the configuration names.
func (a *app) completeMembers(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	s, err := load(a.config, identity{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, v := range s.Voters() {
		if !v.Witness && strings.HasPrefix(string(v.ID), prefix) {
			names = append(names, string(v.ID))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
