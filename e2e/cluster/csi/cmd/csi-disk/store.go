package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// store is the shared directory:
//
//	volumes/ID/disk        the disk: a sparse file whose length is its size
//	volumes/ID/node        the node that it is attached to
//	volumes/ID/source      the snapshot that it was made of
//	snapshots/ID/disk      a copy of a disk
//	snapshots/ID/source    the ID of the volume that was copied
//
// A directory whose name begins with a dot is not finished.
type store struct {
	directory string
}

// Ids are the names that the sidecars give; they become names of files.
var plain = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-]*$`)

func (s store) volume(id string) string   { return filepath.Join(s.directory, "volumes", id) }
func (s store) snapshot(id string) string { return filepath.Join(s.directory, "snapshots", id) }

// inPod turns a path on the node into one that this process can open.
func inPod(path string) string { return filepath.Join(hostRoot, path) }

func (s store) prepare() error {
	return errors.Join(os.MkdirAll(inPod(s.volume("")), 0o700), os.MkdirAll(inPod(s.snapshot("")), 0o700))
}

// size is the length of a directory's disk in bytes, or 0 if there is none.
func size(directory string) (int64, error) {
	info, err := os.Stat(inPod(filepath.Join(directory, "disk")))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// made is when a directory's disk was last written to: for a snapshot, when it was taken.
func made(directory string) (time.Time, error) {
	info, err := os.Stat(inPod(filepath.Join(directory, "source")))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// note reads a small file of a directory; what is not there is empty.
func note(directory, name string) (string, error) {
	text, err := os.ReadFile(inPod(filepath.Join(directory, name)))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

func setNote(directory, name, text string) error {
	return os.WriteFile(inPod(filepath.Join(directory, name)), []byte(text+"\n"), 0o600)
}

// ids are the names of the finished entries of a directory.
func ids(directory string) ([]string, error) {
	entries, err := os.ReadDir(inPod(directory))
	var names []string
	for _, entry := range entries {
		if plain.MatchString(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

// finish gives a directory that was made under another name its own.
func finish(unfinished, directory string) error {
	return os.Rename(inPod(unfinished), inPod(directory))
}

// begin makes an empty directory beside the one that is to be.
func begin(directory string) (string, error) {
	unfinished := filepath.Join(filepath.Dir(directory), "."+filepath.Base(directory))
	if err := os.RemoveAll(inPod(unfinished)); err != nil {
		return "", err
	}
	return unfinished, os.Mkdir(inPod(unfinished), 0o700)
}

// remove takes the name away first, so that half of a disk is never seen.
func remove(directory string) error {
	unfinished := filepath.Join(filepath.Dir(directory), "."+filepath.Base(directory))
	if err := os.RemoveAll(inPod(unfinished)); err != nil {
		return err
	}
	if err := os.Rename(inPod(directory), inPod(unfinished)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(inPod(unfinished))
}

// newDisk makes a file of this length with an empty file system in it.
//
// The file system is XFS because that grows while it is mounted with
// CAP_SYS_ADMIN alone; ext4 wants CAP_SYS_RESOURCE too, which not every
// machine of ours has.
func newDisk(path string, bytes int64) error {
	file, err := os.OpenFile(inPod(path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Truncate(bytes), file.Close()); err != nil {
		return err
	}
	return inImage("mkfs.xfs", "-q", inPod(path))
}

// copyDisk copies a disk as it is at one moment. Nodes are containers on one
// kernel, so a file system that is mounted in any of them can be frozen here:
// the same loop device is the same file system, wherever it is mounted.
func copyDisk(from, to string) error {
	unfinished := to + ".new"
	_, err := onHost(loopDevices+`
		mkdir -p /run/csi-disk
		device=$(losetup --noheadings --output NAME --associated "$1" | sed -n 1p)
		[[ -n $device ]] || exec cp --sparse=always "$1" "$2"
		exec unshare --mount --propagation private bash -euo pipefail -c '
			mount -t xfs -o nouuid "$1" /run/csi-disk
			# What a driver that was killed had frozen.
			fsfreeze --unfreeze /run/csi-disk 2>/dev/null || true
			trap "fsfreeze --unfreeze /run/csi-disk" EXIT
			fsfreeze --freeze /run/csi-disk
			cp --sparse=always "$2" "$3"
		' bash "$device" "$1" "$2"
	`, from, unfinished)
	if err != nil {
		return err
	}
	return os.Rename(inPod(unfinished), inPod(to))
}

// inUse says whether any node has the disk mounted, whatever the notes say.
func inUse(disk string) (bool, error) {
	device, err := onHost(loopDevices+`losetup --noheadings --output NAME --associated "$1"`, disk)
	return device != "", err
}
