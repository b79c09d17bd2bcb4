package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"time"
)

// byKey is where a request's context has the user at the other end.
type byKey struct{}

// By is the user of the operating system who sent the request: "root" or
// "uid 1000", "unknown" where that cannot be told.
func By(ctx context.Context) string {
	if s, ok := ctx.Value(byKey{}).(string); ok {
		return s
	}
	return "unknown"
}

// ControlServer serves h to the user and root of this machine; the caller gives it a
// listener from ListenControl. By says who asks.
func ControlServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, byKey{}, peerUser(conn))
		},
	}
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(uid)
}

// ErrControlInUse means that another process answers on the socket.
var ErrControlInUse = errors.New("control socket is in use by another relay")

// ListenControl opens the socket at path with mode 0600. A socket that a dead
// process has left behind is replaced.
func ListenControl(path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("%w: %s", ErrControlInUse, path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		os.Remove(path)
	}
	// Bound under a name that nobody knows and moved when its mode is right, so
	// that there is no moment at which others can open it.
	hidden := fmt.Sprintf("%s.%d", path, os.Getpid())
	os.Remove(hidden)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on control socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(hidden, 0o600); err == nil {
		err = os.Rename(hidden, path)
	}
	if err != nil {
		l.Close()
		os.Remove(hidden)
		return nil, fmt.Errorf("make control socket: %w", err)
	}
	return &controlListener{l, path}, nil
}

// controlListener removes its socket when it closes.
type controlListener struct {
	*net.UnixListener
	path string
}

func (l *controlListener) Close() error {
	os.Remove(l.path)
	return l.UnixListener.Close()
}
