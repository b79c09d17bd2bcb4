package scan

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// rspamd posts messages to /checkv2 of a normal worker, a connection for each:
// the worker closes it behind its answer, whatever was asked for.
type rspamd struct {
	target   target
	require  []string
	settings string
}

func (r *rspamd) ask(ctx context.Context, m *Message) (Response, error) {
	conn, err := r.target.open(ctx)
	if err != nil {
		return Response{}, err
	}
	defer conn.Close()
	wrote := sendAll(conn, r.head(m), &m.Content)
	body, err := readHTTP(conn)
	switch {
	case wrote != nil:
		return Response{}, fmt.Errorf("send: %w", wrote)
	case err != nil:
		return Response{}, err
	}
	v, err := parseRspamd(body, r.require, m.Canary)
	if v.Class == Clean && conn.hasty {
		return Response{}, errHasty
	}
	return v, err
}

// sendAll sends a request.
func sendAll(conn *bound, head []byte, content *Content) error {
	if content.FileSize == 0 {
		conn.look()
		return conn.send(content.pieces(head))
	}
	if err := conn.send(content.pieces(head)); err != nil {
		return err
	}
	rest := content.rest()
	if _, err := io.CopyN(conn, rest, content.FileSize-1); err != nil {
		return err
	}
	conn.look()
	_, err := io.Copy(conn, rest)
	return err
}

// readHTTP reads a whole answer of status 200.
func readHTTP(r io.Reader) ([]byte, error) {
	resp, err := http.ReadResponse(bufio.NewReader(r), &http.Request{Method: http.MethodPost})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP status %d", resp.StatusCode)
	}
	return io.ReadAll(resp.Body)
}

// head is the request with what rspamd is to know of the message. With User it
// takes mail for outbound.
func (r *rspamd) head(m *Message) []byte {
	b := new(bytes.Buffer)
	fmt.Fprintf(b, "POST %s/checkv2 HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n",
		r.target.path, r.target.host, m.Content.Size())
	field := func(name, value string) {
		if value != "" && !strings.ContainsAny(value, "\r\n\x00") {
			fmt.Fprintf(b, "%s: %s\r\n", name, value)
		}
	}
	field("From", m.From)
	for _, to := range m.To {
		field("Rcpt", to)
	}
	if m.IP.IsValid() {
		field("IP", m.IP.String())
	}
	field("Helo", m.Helo)
	field("User", userOf(m))
	field("Queue-Id", m.ID)
	field("Settings-ID", r.settings)
	field("MTA-Name", m.Hostname)
	b.WriteString("\r\n")
	return b.Bytes()
}

// userOf is whom rspamd takes for an authenticated submitter: all our clients
// are, by whatever they are known.
func userOf(m *Message) string {
	if m.User != "" {
		return m.User
	}
	return m.Client
}

// rspamdAnswer is the part of the answer that decides.
type rspamdAnswer struct {
	Action    *string                    `json:"action"`
	IsSkipped *bool                      `json:"is_skipped"`
	Score     float64                    `json:"score"`
	Symbols   map[string]json.RawMessage `json:"symbols"`
	Messages  map[string]json.RawMessage `json:"messages"`
	Milter    struct {
		Reject json.RawMessage `json:"reject"`
	} `json:"milter"`
}

// parseRspamd reads an answer. A canary asks only whether something was found,
// so that no symbols are required.
func parseRspamd(body []byte, require []string, canary bool) (Response, error) {
	var a rspamdAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return Response{}, fmt.Errorf("answer is not the JSON of /checkv2: %w", err)
	}
	if a.Action == nil {
		return Response{}, errors.New("answer without an action")
	}
	v := Response{Score: a.Score, Symbols: names(a.Symbols), Text: a.text()}
	if a.swallows() {
		v.Class = a.refusal()
		return v, nil
	}
	switch *a.Action {
	case "no action", "greylist":
		v.Text = ""
		return v, a.looked(&v, require, canary)
	case "add header", "rewrite subject":
		v.Class = Suspicious
		return v, nil
	case "soft reject":
		v.Class = Later
		return v, nil
	case "reject":
		v.Class = a.refusal()
		return v, nil
	}
	return Response{}, fmt.Errorf("action %q is unknown", clean(*a.Action, 80))
}

// looked makes v clean where the answer proves that rspamd has looked.
func (a *rspamdAnswer) looked(v *Response, require []string, canary bool) error {
	switch {
	case a.IsSkipped == nil:
		return errors.New("answer does not say whether the scan was skipped")
	case *a.IsSkipped:
		return errors.New("it skipped the scan")
	}
	for _, name := range require {
		if _, ok := a.Symbols[name]; !ok && !canary {
			return fmt.Errorf("answer without the required symbol %s", name)
		}
	}
	v.Class = Clean
	return nil
}

// swallows reports whether a milter would discard or quarantine the message.
func (a *rspamdAnswer) swallows() bool {
	s := strings.TrimSpace(string(a.Milter.Reject))
	return s != "" && s != "null" && s != `""` && s != "false"
}

func (a *rspamdAnswer) refusal() Class {
	for name := range a.Symbols {
		if upper := strings.ToUpper(name); strings.Contains(upper, "VIRUS") || strings.Contains(upper, "MALWARE") {
			return Virus
		}
	}
	return Spam
}

func (a *rspamdAnswer) text() string {
	var s string
	if json.Unmarshal(a.Messages["smtp_message"], &s) != nil {
		return ""
	}
	return reason(s)
}

// maxSymbols is how many symbols an event names.
const maxSymbols = 50

func names(symbols map[string]json.RawMessage) []string {
	list := make([]string, 0, len(symbols))
	for name := range symbols {
		list = append(list, clean(name, 60))
	}
	sort.Strings(list)
	return slices.Clip(list[:min(len(list), maxSymbols)])
}

// version is what the answer to /ping tells: rspamd names itself in Server.
func (r *rspamd) version(ctx context.Context) (Version, error) {
	conn, err := r.target.open(ctx)
	if err != nil {
		return Version{}, err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET %s/ping HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", r.target.path, r.target.host); err != nil {
		return Version{}, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return Version{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Version{}, errors.New("HTTP status " + strconv.Itoa(resp.StatusCode) + " to /ping")
	}
	return Version{Name: clean(resp.Header.Get("Server"), 200)}, nil
}
