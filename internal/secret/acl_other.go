//go:build !linux

package secret

import (
	"io/fs"
	"os"
)

// entriesOf are the rights of others than the owner on an open file.
func entriesOf(_ *os.File, info fs.FileInfo) rights { return modeRights(info) }
