package sipserver

import (
	"bytes"
	"os"
	"path"
	"strings"
)

// cgroupRoot is where systemd mounts control groups. In the hybrid layout version 2 is in its folder unified.
const cgroupRoot = "/sys/fs/cgroup"

// freezer tells whether processes are in a frozen control group, which their states don't show. It remembers by group.
type freezer map[string]bool

func (f freezer) holds(pid int) bool {
	b, err := os.ReadFile(procPath(pid, "cgroup"))
	if err != nil {
		return false
	}
	frozen, ok := f[string(b)]
	if !ok {
		frozen = frozenIn(cgroupRoot, b)
		f[string(b)] = frozen
	}
	return frozen
}

// frozenIn reads /proc/PID/cgroup (cgroups(7)): version 2 says it in cgroup.events, version 1 in freezer.state, both also where it
// is a group above that is frozen.
func frozenIn(root string, groups []byte) bool {
	for line := range strings.Lines(string(groups)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		switch controllers, group := f[1], path.Clean("/"+f[2]); {
		case controllers == "":
			for _, mount := range []string{root, path.Join(root, "unified")} {
				b, err := os.ReadFile(path.Join(mount, group, "cgroup.events"))
				if err == nil && bytes.Contains(b, []byte("frozen 1")) {
					return true
				}
			}
		case controllers == "freezer":
			b, err := os.ReadFile(path.Join(root, "freezer", group, "freezer.state"))
			if err == nil && bytes.HasPrefix(b, []byte("FROZEN")) {
				return true
			}
		}
	}
	return false
}
