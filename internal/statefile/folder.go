package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// errLink is returned for a file of a state folder that is a link: whoever made
// it chooses what we write to.
var errLink = errors.New("is a link, and links in a state folder are not followed; move the file there, or remove the link")

// Open opens a file of a state folder, made with mode 0600 where flags say so. A
// link is not followed: errLink.
func Open(name string, flags int) (*os.File, error) {
	f, err := os.OpenFile(name, flags|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s %w", name, errLink)
	}
	return f, err
}

// CheckFolder says why a state folder cannot be trusted: others can write it, so
// that they could put links and files of theirs into it. The folder itself may
// be a link, as systemd's DynamicUser makes it, one below it not: follow is
// false for that. A folder that is not there is no fault.
func CheckFolder(dir string, follow bool) error {
	info, err := closed(dir, follow)
	if err != nil || info == nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user (uid %d), who can write it; chown it to the user of the relay, or name a folder below it that the relay can make", dir, stat.Uid)
	}
	return nil
}

// CheckFolderOfAnother is CheckFolder for who may be another user than the relay: whose the
// folder is does not count.
func CheckFolderOfAnother(dir string, follow bool) error {
	_, err := closed(dir, follow)
	return err
}

// closed says why others than its owner can write a folder; info is nil if it is not there.
func closed(dir string, follow bool) (info fs.FileInfo, err error) {
	look := os.Lstat
	if follow {
		look = os.Stat
	}
	info, err = look(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, fmt.Errorf("%s %w", dir, errLink)
	case !info.IsDir():
		return nil, fmt.Errorf("%s is not a folder", dir)
	case info.Mode().Perm()&0o022 != 0:
		return nil, fmt.Errorf("%s can be written by others (mode %04o); chmod go-w it, or name a folder below it that the relay can make", dir, info.Mode().Perm())
	}
	return info, nil
}

// OpenParent names a folder above dir in which everybody can put another one in
// its place; "" where there is none.
func OpenParent(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		info, err := os.Stat(dir)
		if err == nil && info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return dir
		}
	}
	return ""
}
