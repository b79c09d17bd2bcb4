package ruleset

import "postern/internal/admin"

// ScannerStatus says how each scanner does.
func (r *Set) ScannerStatus() (list []admin.ScannerStatus) {
	for _, s := range r.Scanners.States() {
		list = append(list, admin.ScannerStatus{Name: s.Name, Kind: s.Kind, Up: s.Up, Since: s.Since, Proven: s.Proven, Shadow: s.Shadow,
			Version: s.Version.Name, Database: s.Version.Database, Err: s.Why})
	}
	return list
}

// ScannersUp says of each scanner whether it is up.
func (r *Set) ScannersUp() map[string]bool {
	up := map[string]bool{}
	for _, s := range r.Scanners.States() {
		up[s.Name] = s.Up
	}
	return up
}
