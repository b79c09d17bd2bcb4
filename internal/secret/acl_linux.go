package secret

import (
	"encoding/binary"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// maxACL is the size of an access control list that is read; a longer one
// names so many that the file is not private.
const maxACL = 4 + 8*64

// entriesOf are the rights of others than the owner on an open file: those of
// its access control list (acl(5)) where it has one, since the group bits of
// the mode are then the mask of the list, else those of its mode.
func entriesOf(f *os.File, info fs.FileInfo) rights {
	b := make([]byte, maxACL)
	n, err := 0, error(unix.EBADF)
	if raw, e := f.SyscallConn(); e == nil { // Fd would make reads of a pipe wait without a deadline
		raw.Control(func(fd uintptr) { n, err = unix.Fgetxattr(int(fd), "system.posix_acl_access", b) })
	}
	switch {
	case err == unix.ERANGE:
		return rights{{everybody, 0, 7}}
	case err != nil: // no list, or a file system without lists
		return modeRights(info)
	}
	return parseACL(b[:n], info)
}

// Tags of the entries of a list, as in linux/posix_acl.h.
const (
	tagUser     = 0x02
	tagGroupObj = 0x04
	tagGroup    = 0x08
	tagMask     = 0x10
	tagOther    = 0x20
)

// parseACL reads the form of linux/posix_acl_xattr.h: a version, then a tag,
// rights and an id for each entry, little endian. What it cannot read is taken
// for a right of everybody.
func parseACL(b []byte, info fs.FileInfo) rights {
	if len(b) < 4 || binary.LittleEndian.Uint32(b) != 2 || len(b)%8 != 4 {
		return rights{{everybody, 0, 7}}
	}
	group := modeRights(info)[1].id
	mask := uint16(7)
	var rs rights
	for b = b[4:]; len(b) > 0; b = b[8:] {
		tag, bits, id := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), int(binary.LittleEndian.Uint32(b[4:]))
		switch tag {
		case tagUser:
			rs = append(rs, right{aUser, id, bits})
		case tagGroupObj:
			rs = append(rs, right{aGroup, group, bits})
		case tagGroup:
			rs = append(rs, right{aGroup, id, bits})
		case tagMask:
			mask = bits
		case tagOther:
			rs = append(rs, right{everybody, 0, bits})
		}
	}
	for i := range rs {
		if rs[i].who != everybody {
			rs[i].bits &= mask
		}
	}
	return rs
}
