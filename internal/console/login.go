package console

import (
	"net/http"
	"strings"
	"time"

	"postern/internal/access"
	"postern/internal/console/peers"
)

// cookieName is such that a browser takes it only when it is Secure, from this very host,
// for all paths. Over plain HTTP browsers keep it for this machine (localhost, 127.0.0.1).
const cookieName = "__Host-postern"

// visit is a request of somebody who is logged in.
type visit struct {
	*Console
	session *session
	request *http.Request
	// Caller is who looks, as of now.
	access.Caller
	waiting *needsPart                      // once it was asked for
	nodes   []peers.Answer[peers.NodeState] // likewise
}

// inSession has h answer who is logged in, and shows others the way.
func (c *Console) inSession(h func(w http.ResponseWriter, v *visit)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := c.visit(r)
		switch {
		case v != nil && r.Method == http.MethodPost && !c.sessions.isFormToken(v.session, v.field("form")):
			c.problem(w, v, http.StatusForbidden, "This form is not of your session, and nothing was done. Go back to the console and try again.")
		case v != nil:
			h(w, v)
		case strings.HasPrefix(r.URL.Path, "/part/"):
			c.show(w, http.StatusUnauthorized, "ended", r.PathValue("name"))
		case r.Method == http.MethodPost:
			c.problem(w, nil, http.StatusUnauthorized, "Your session has ended, and nothing was done. Log in and try again.")
		case r.URL.Query().Has(begun):
			http.Redirect(w, r, "/login?kept=no", http.StatusSeeOther)
		default:
			http.Redirect(w, r, "/login", http.StatusSeeOther)
		}
	}
}

// proxied is a visit of somebody whom a proxy in front or a client certificate names; nil
// where none does. Its forms are bound to the name.
func (c *Console) proxied(r *http.Request) *visit {
	who, no := c.identify(r)
	if no != nil || who.Token != "" { // a token in a header is for programs
		return nil
	}
	return c.visitOf(r, &session{Caller: who, ID: string(who.Door) + " " + who.Name}, who)
}

// visit is that of a request; nil where nobody is logged in.
func (c *Console) visit(r *http.Request) *visit {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return c.proxied(r)
	}
	s := c.sessions.read(cookie.Value)
	if s == nil {
		return c.proxied(r)
	}
	who := s.Caller
	if who.Token != "" {
		var ok bool
		if who, ok = c.still(who); !ok {
			return nil
		}
	}
	return c.visitOf(r, s, who)
}

// visitOf is a visit of somebody whom the console lets in. What he asks for is asked of
// the API in his name.
func (c *Console) visitOf(r *http.Request, s *session, who access.Caller) *visit {
	if who.Door != access.Proxy && who.Door != access.Cert { // the audit tells their names from those of the system's users
		who.Door = access.Page
	}
	who.Remote = remote(r)
	if who.Allow(access.View, true) != nil {
		return nil
	}
	return &visit{Console: c, session: s, request: r.WithContext(access.With(r.Context(), who)), Caller: who}
}

func (v *visit) frame(title string, body any) frame {
	s := v.State()
	return frame{Title: title, Relay: clean(s.Relay), Version: s.Version, Who: &v.Caller, Form: v.sessions.formToken(v.session), Said: v.sessions.hear(v.session), Body: body}
}

// loginForm is what the page to log in shows.
type loginForm struct {
	Problem string
	Link    string // to log in with; "": by a token
}

func (c *Console) loginPage(w http.ResponseWriter, r *http.Request) {
	if c.visit(r) != nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	form := loginForm{}
	if r.URL.Query().Has("kept") {
		form.Problem = "The browser did not keep the session. It keeps it over https, and over plain http for localhost only."
	}
	c.showLogin(w, http.StatusOK, form)
}

func (c *Console) showLogin(w http.ResponseWriter, status int, form loginForm) {
	c.show(w, status, "login.html", frame{Title: "Log in", Relay: clean(c.State().Relay), Body: form})
}

// linkPage shows a button and uses nothing up: programs that look at links would log in in
// place of who was meant.
func (c *Console) linkPage(w http.ResponseWriter, r *http.Request) {
	token := r.PathValue("token")
	if !c.sessions.isLink(token) {
		c.showLogin(w, http.StatusNotFound, loginForm{Problem: "This link has been used, or its minute is over. Run relay console for another."})
		return
	}
	c.showLogin(w, http.StatusOK, loginForm{Link: "/login/" + token})
}

func (c *Console) loginByLink(w http.ResponseWriter, r *http.Request) {
	who, ok := c.sessions.useLink(r.PathValue("token"))
	if !ok {
		c.showLogin(w, http.StatusUnauthorized, loginForm{Problem: "This link has been used, or its minute is over. Run relay console for another."})
		return
	}
	c.enter(w, r, who)
}

func (c *Console) loginByToken(w http.ResponseWriter, r *http.Request) {
	who, no := c.token(r, strings.TrimSpace(r.PostFormValue("login")))
	if no != nil {
		c.showLogin(w, no.Status, loginForm{Problem: "You are not logged in: " + no.Detail + "."})
		return
	}
	c.enter(w, r, who)
}

// enter begins a session.
func (c *Console) enter(w http.ResponseWriter, r *http.Request, who access.Caller) {
	cookie, expires := c.sessions.begin(who)
	c.log.Info("console: logged in", "by", who.By(), "role", who.Role, "remote", remote(r))
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: cookie, Path: "/", Expires: expires, MaxAge: int(sessionFor / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/?"+begun, http.StatusSeeOther)
}

// begun marks the first request of a session: when it comes without the cookie, the
// browser did not keep it.
const begun = "begun"

func (c *Console) logout(w http.ResponseWriter, v *visit) {
	if err := c.sessions.end(v.session); err != nil {
		c.log.Error("console: a session that was logged out would hold again after a restart", "err", err)
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, v.request, "/login", http.StatusSeeOther)
}

// remote is the address at the other end.
func remote(r *http.Request) string {
	if a := access.Remote(r); a.IsValid() {
		return a.String()
	}
	return ""
}
