package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"log/slog"
	"net/http"
	"path"
	"strconv"
	"sync"
	"time"

	"postern/internal/access"
	"postern/internal/api"
	"postern/internal/console/peers"
	"postern/internal/statefile"
)

//go:embed static/console.css static/console.js static/htmx-4.0.1.min.js static/icon.svg
var static embed.FS

//go:embed templates/*.html
var templates embed.FS

// Options are what a console needs.
type Options struct {
	Data Data
	// State keeps the key of sessions and which were logged out.
	State *statefile.File
	// API is asked as who looks, and does what he asks for.
	API *api.API
	// Token is who a token is of that a request's form brings.
	Token func(r *http.Request, token string) (access.Caller, *access.Refusal)
	// Still says who a session by a token is now: the token may have ended. It is asked at
	// each request.
	Still func(access.Caller) (access.Caller, bool)
	// Identify is who a request is of without a session: a proxy in front or a client
	// certificate may say so.
	Identify func(*http.Request) (access.Caller, *access.Refusal)
	// Peers are the other nodes.
	Peers *peers.Peers
	Log   *slog.Logger
	Now   func() time.Time // nil: time.Now
}

// Console serves the pages. It is safe for concurrent use.
type Console struct {
	Data
	api      *api.API
	peers    *peers.Peers
	token    func(*http.Request, string) (access.Caller, *access.Refusal)
	still    func(access.Caller) (access.Caller, bool)
	identify func(*http.Request) (access.Caller, *access.Refusal)
	log      *slog.Logger
	now      func() time.Time
	sessions *sessions
	pages    *template.Template
	files    map[string]file // of the folder static, by name
	budgets  budgets
}

// file is one of the static ones.
type file struct {
	kind, version string
	text          []byte
}

// New makes a console. The error says that its file cannot be written: the console works
// all the same.
func New(o Options) (*Console, error) {
	c := &Console{Data: o.Data, api: o.API, peers: o.Peers, token: o.Token, still: o.Still, identify: o.Identify, log: o.Log, now: o.Now, files: map[string]file{}}
	if c.now == nil {
		c.now = time.Now
	}
	var err error
	c.sessions, err = openSessions(o.State, c.now, o.Log)
	c.budgets.ask = o.Data.Budgets
	list, _ := static.ReadDir("static")
	for _, e := range list {
		text, _ := static.ReadFile("static/" + e.Name())
		sum := sha256.Sum256(text)
		kind := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}[path.Ext(e.Name())]
		c.files[e.Name()] = file{kind, hex.EncodeToString(sum[:6]), text}
	}
	c.pages = template.Must(template.New("").Funcs(template.FuncMap{"static": c.address, "pair": pairOf, "sealed": sealed, "budget": sealedBudget}).ParseFS(templates, "templates/*.html"))
	return c, err
}

// pairOf is what a template needs that makes one form of many.
func pairOf(form string, of any) map[string]any { return map[string]any{"Form": form, "Of": of} }

// address is where a browser finds a static file; it changes with what the file holds.
func (c *Console) address(name string) string {
	return "/static/" + name + "?v=" + c.files[name].version
}

// NewLink is the path of a page that logs who in, once and within a minute.
func (c *Console) NewLink(who access.Caller) string { return "/login/" + c.sessions.newLink(who) }

// Serve adds the pages to a port.
func (c *Console) Serve(mux *http.ServeMux) {
	add := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, c.guarded(h)) }
	mux.HandleFunc("GET /static/{name}", c.static)
	add("GET /login", c.loginPage)
	add("POST /login", c.loginByToken)
	add("GET /login/{token}", c.linkPage)
	add("POST /login/{token}", c.loginByLink)
	add("POST /logout", c.inSession(c.logout))
	add("POST /act/{what}", c.inSession(c.act))
	add("GET /{$}", c.inSession(c.page))
	add("GET /part/{name}", c.inSession(c.part))
	add("GET /near", c.inSession(c.nearPage))
	add("GET /done", c.inSession(c.donePage))
	add("GET /needs", c.inSession(c.needsPage))
	add("GET /find", c.inSession(c.findPage))
	add("GET /event/{id}", c.inSession(c.eventPage))
	add("GET /hour", c.inSession(c.hourPage))
	add("GET /hours", c.inSession(c.hoursPage))
}

// maxForm bounds the body of a request.
const maxForm = 16 << 10

// policy lets nothing in that is not ours: no script and no style within a page, nothing
// from elsewhere, no frame around us.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// guarded sets what every answer has.
func (c *Console) guarded(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Security-Policy", policy)
		head.Set("Referrer-Policy", "same-origin") // with no-referrer browsers send Origin: null
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("X-Robots-Tag", "noindex")
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		head.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if no := access.SameSite(r); no != nil && r.Method != http.MethodGet {
			c.problem(w, nil, no.Status, "Nothing was done: "+no.Detail+".")
			return
		}
		h(w, r)
	}
}

// static serves a file, which browsers may keep: its address changes with it.
func (c *Console) static(w http.ResponseWriter, r *http.Request) {
	f, ok := c.files[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	head := w.Header()
	head.Set("Content-Type", f.kind)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Cache-Control", "public, max-age=86400")
	if r.URL.Query().Get("v") == f.version {
		head.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	head.Set("Content-Length", strconv.Itoa(len(f.text)))
	w.Write(f.text)
}

// frame is what every page has around it.
type frame struct {
	Title   string
	Relay   string
	Version string
	Who     *access.Caller
	Form    string // token of forms
	Said    string
	Body    any
}

// buffers are kept, since pages are made several times a second while they are looked at.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// show answers with a template. It is made whole before any of it is sent, so that a fault
// shows as one.
func (c *Console) show(w http.ResponseWriter, status int, name string, data any) {
	b := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	if err := c.pages.ExecuteTemplate(b, name, data); err != nil {
		c.log.Error("a page of the console could not be made", "page", name, "err", err)
		http.Error(w, "this page could not be made; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// problem answers with a page that says what is wrong.
func (c *Console) problem(w http.ResponseWriter, v *visit, status int, words string) {
	f := frame{Title: http.StatusText(status), Body: clean(words)}
	if v != nil {
		f = v.frame(f.Title, f.Body)
	}
	c.show(w, status, "problem.html", f)
}
