package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// controlVar hands the control folder down to the program inside, where the user has another number.
const controlVar = "UNDERSTUDY_LAB_CONTROL"

// errNoLab reports that there is nothing to speak to.
var errNoLab = errors.New("no lab is up (lab up starts one)")

// makeControlDir makes the folder in which a lab that comes up can be spoken to.
func makeControlDir() (string, error) {
	dir := controlPath()
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return "", fmt.Errorf("make the control folder: %w", err)
	}
	return controlDir()
}

func controlPath() string {
	if dir := os.Getenv(controlVar); dir != "" {
		return dir
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("understudy-lab-control-%d", os.Geteuid()))
}

// controlDir finds that folder. It must be the user's own.
func controlDir() (string, error) {
	dir := controlPath()
	info, err := os.Lstat(dir)
	if os.IsNotExist(err) {
		return "", errNoLab
	}
	if err != nil {
		return "", fmt.Errorf("look at the control folder: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() || info.Mode() != os.ModeDir|0o700 {
		return "", fmt.Errorf("%s is not a folder of yours alone: remove it", dir)
	}
	return dir, nil
}

// socketIn and logIn are the files in the control folder.
func socketIn(dir string) string { return filepath.Join(dir, "socket") }
func logIn(dir string) string    { return filepath.Join(dir, "log") }

// call asks the lab that is up to do something and copies what it says to out while it says it.
func call(ctx context.Context, out io.Writer, verb string, args url.Values) error {
	dir, err := controlDir()
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socketIn(dir))
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://lab/"+verb, strings.NewReader(args.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoLab, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body) // the status says enough
		return fmt.Errorf("%s", strings.TrimSpace(string(text)))
	}
	_, err = io.Copy(out, resp.Body)
	return err
}

// callCmd is a command that only passes a verb on.
func callCmd(use, verb, short string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return call(cmd.Context(), cmd.OutOrStdout(), verb, nil) },
	}
}

func statusCmd() *cobra.Command {
	return callCmd("status", "status", "Tell who serves and whether all is well")
}
func healCmd() *cobra.Command {
	return callCmd("heal", "heal", "End every fault and wait until the pair is healthy again")
}
func downCmd() *cobra.Command { return callCmd("down", "down", "Take the lab down") }

func faultCmd() *cobra.Command {
	return &cobra.Command{
		Use: "fault NAME", Short: "Break the pair that is up, and tell what its client noticed", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call(cmd.Context(), cmd.OutOrStdout(), "fault", url.Values{"name": args})
		},
	}
}

func execCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "exec HOST COMMAND...", Short: "Run a command at a host: a, b, w, c or the switch", Args: cobra.MinimumNArgs(2),
		Example: "  lab exec a ip addr\n  lab exec c sipsak -v -s sip:10.77.2.10",
		RunE: func(cmd *cobra.Command, args []string) error {
			return call(cmd.Context(), cmd.OutOrStdout(), "exec", url.Values{"host": args[:1], "arg": args[1:]})
		},
	}
	cmd.Flags().SetInterspersed(false) // flags after HOST are the command's
	return cmd
}
