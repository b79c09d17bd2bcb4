package outlier

import (
	"fmt"
	"io/fs"
	"os"

	"postern/outlier/astable"
)

// asFile is the table of autonomous systems that was read last.
type asFile struct {
	name  string
	info  fs.FileInfo
	table *astable.Table // nil: none
}

// openASFile reads a table, "" for none. What last has read is taken where the file is
// the same as then: a table of the Internet takes seconds.
func openASFile(name string, last asFile) (asFile, error) {
	if name == "" {
		return asFile{}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return asFile{}, fmt.Errorf("outlier.as_table: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return asFile{}, fmt.Errorf("outlier.as_table: %w", err)
	}
	if name == last.name && os.SameFile(info, last.info) && info.Size() == last.info.Size() && info.ModTime().Equal(last.info.ModTime()) {
		return last, nil
	}
	if !info.Mode().IsRegular() {
		return asFile{}, fmt.Errorf("outlier.as_table: %s is not a file", name)
	}
	table, err := astable.Read(f)
	if err != nil {
		return asFile{}, fmt.Errorf("outlier.as_table: %s: %w", name, err)
	}
	return asFile{name, info, table}, nil
}

// OpenTable reads the table of autonomous systems that cfg names, and returns nil where it
// names none.
func OpenTable(cfg Config) (*astable.Table, error) {
	as, err := openASFile(cfg.ASTable, asFile{})
	return as.table, err
}

// TryFiles reads the files that cfg names, decoys and as_table, and returns the first
// error. It changes nothing.
func TryFiles(cfg Config, o Options) error {
	if _, err := readDecoys(cfg.Decoys, o.Parse); err != nil {
		return err
	}
	_, err := openASFile(cfg.ASTable, asFile{})
	return err
}
