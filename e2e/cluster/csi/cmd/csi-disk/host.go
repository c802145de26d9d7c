package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
)

// hostRoot is where the pod has the node's root file system.
const hostRoot = "/host"

// onHost runs a shell script with the node's programs, in the node's mount
// namespace, and returns what it printed.
func onHost(script string, args ...string) (string, error) {
	arguments := append([]string{"--target", "1", "--mount", "--", "bash", "-euo", "pipefail", "-c", script, "bash"}, args...)
	command := exec.Command("/usr/bin/nsenter", arguments...)
	command.SysProcAttr = &syscall.SysProcAttr{Chroot: hostRoot}
	command.Dir = "/"
	command.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	var out, complaint bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaint
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// inImage runs a program that the nodes do not have.
func inImage(name string, args ...string) error {
	if said, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(said)))
	}
	return nil
}

// loopDevices is put before scripts that use loop devices: a container's /dev
// has only those that there were when it started.
const loopDevices = `
for i in {0..63}; do
  [[ -e /dev/loop$i ]] || mknod -m 600 "/dev/loop$i" b 7 "$i" 2>/dev/null || true
done
`
