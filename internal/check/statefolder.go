package check

import (
	"errors"
	"io/fs"
	"path/filepath"

	"postern/internal/config"
	"postern/internal/statefile"
)

// StateFolder says why a relay does not start with its state folder as it is: others can write
// it, or, where the user who asks is the relay's own, it cannot be used. A folder that is not
// there is made at the start.
func StateFolder(f *config.File, own bool) error {
	look := statefile.CheckFolderOfAnother
	if own {
		look = statefile.CheckFolder
	}
	for _, folder := range []string{f.StateDir, filepath.Join(f.StateDir, "outlier")} {
		err := look(folder, folder == f.StateDir)
		var denied *fs.PathError // the relay may look where others may not
		if err != nil && !statefile.IsDiskTrouble(err) && (own || !errors.As(err, &denied)) {
			return err
		}
	}
	return nil
}
