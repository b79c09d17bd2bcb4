package config

import "os"

// SocketOf returns the control socket that the file at path names. It looks at
// nothing else, so that commands work for who may not read the secrets, and
// while the file has problems: a reload that was refused for them leaves a relay
// running, and it is then that its operator asks.
func SocketOf(path string) (string, error) {
	l := loader{getenv: os.Getenv, beside: leftAlone}
	d, err := l.open(path)
	if err != nil {
		return "", asProblems(err)
	}
	var some struct {
		StateDir string        `toml:"state_dir" form:"path"`
		Control  ControlConfig `toml:"control"`
	}
	f := &File{}
	f.SetDefaults()
	some.StateDir = f.StateDir
	d.decodeFile(&some)
	f.StateDir, f.Control = some.StateDir, some.Control
	f.inState()
	return f.Control.Socket, nil
}
