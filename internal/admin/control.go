package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"time"
)

// Control answers the commands of operators (relay limits, senders, suspend
// ...). It is served on a Unix socket that only its owner can open; requests
// and answers are JSON. Every act is logged with the user of the operating
// system who did it.
type Control struct {
	mux *http.ServeMux
	log *slog.Logger
}

// NewControl answers nothing yet.
func NewControl(log *slog.Logger) *Control {
	return &Control{mux: http.NewServeMux(), log: log}
}

// Mount serves h below path.
func (c *Control) Mount(path string, h http.Handler) { c.mux.Handle(path, h) }

// Misuse is an error that the one who asked can mend: its text goes back with
// status 400.
type Misuse string

func (m Misuse) Error() string { return string(m) }

// maxRequest is the size of a request's body.
const maxRequest = 64 << 10

// query answers GET path by what f returns.
func (c *Control) query(path string, f func(*http.Request) (any, error)) {
	c.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		answer(w, v, err)
	})
}

// Query answers GET path by what f returns for the form values; get gives "" for
// those that are missing.
func (c *Control) Query(path string, f func(ctx context.Context, get func(key string) string) (any, error)) {
	c.query(path, func(r *http.Request) (any, error) { return f(r.Context(), r.URL.Query().Get) })
}

// Act carries out POST path: f gets the request's body decoded into a T.
func Act[T any](c *Control, path string, f func(ctx context.Context, in T) (any, error)) {
	c.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var in T
		d := json.NewDecoder(io.LimitReader(r.Body, maxRequest))
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil {
			answer(w, nil, Misuse("request: "+err.Error()))
			return
		}
		v, err := f(r.Context(), in)
		level, attrs := slog.LevelInfo, []any{"act", path[1:], "by", By(r.Context()), "what", in}
		if err != nil {
			level, attrs = slog.LevelWarn, append(attrs, "err", err)
		}
		c.log.Log(r.Context(), level, "operator", attrs...)
		answer(w, v, err)
	})
}

func answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	status := http.StatusOK
	if err != nil {
		status = http.StatusInternalServerError
		var m Misuse
		if errors.As(err, &m) {
			status = http.StatusBadRequest
		}
		v = map[string]string{"error": err.Error()}
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

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

// Server serves c; the caller gives it a listener from ListenControl.
func (c *Control) Server() *http.Server {
	return &http.Server{
		Handler: c.mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
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
