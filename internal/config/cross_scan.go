package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"postern/internal/parts"
	"postern/scan"
	"postern/scan/links"
)

// attachments checks what clients and streams refuse of them.
func (x *crossCheck) attachments() {
	for _, name := range x.names["client"] {
		x.entries(join(join("client", name), "refuse_attachments"), x.Client[name].RefuseAttachments)
	}
	for _, name := range x.names["stream"] {
		x.entries(join(join("stream", name), "refuse_attachments"), x.Stream[name].RefuseAttachments)
	}
}

// OwnDomains are those whose links need no look: internal_domains, those that we
// sign for, and those of which a client owns all senders; sorted.
func (f *File) OwnDomains() []string {
	own := map[string]bool{}
	for _, d := range f.InternalDomains {
		own[strings.TrimPrefix(d, "*.")] = true
	}
	for d := range f.DKIM {
		own[d] = true
	}
	for _, c := range f.Client {
		for _, pattern := range c.Senders {
			if domain, ok := strings.CutPrefix(pattern, "@"); ok {
				own[strings.TrimPrefix(domain, "*.")] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(own))
}

// links warns of lists that say nothing.
func (x *crossCheck) links() {
	for i, path := range x.Links.Files {
		if x.d.beside == leftAlone {
			continue
		}
		if err := links.CheckFile(path); err != nil {
			x.d.warn(join("links.files", strconv.Itoa(i)), err.Error()+"; mail passes without it until it can be read")
		}
	}
}

func (x *crossCheck) entries(path string, list []string) {
	for i, entry := range list {
		if err := parts.CheckEntry(entry); err != nil {
			x.d.problem(join(path, strconv.Itoa(i)), strconv.Quote(entry)+" "+err.Error())
		}
	}
}

// scanners holds [scanner.NAME] against clients and streams, and warns of a yes
// that nothing proves.
func (x *crossCheck) scanners() {
	for _, name := range x.names["scanner"] {
		s, path := x.Scanner[name], join("scanner", name)
		x.listed(join(path, "clients"), "client", s.Clients)
		x.listed(join(path, "streams"), "stream", s.Streams)
		switch {
		case s.Canary == 0:
			x.d.warn(join(path, "canary"), "without a canary nothing proves that the scanner looks at mail")
		case s.Milter != "" && s.CanaryFinds == "":
			x.d.warn(path, `nothing proves that this milter looks at mail; write what it must refuse, such as canary_finds = "gtube"`)
		}
		if s.OnFailure == scan.Pass && s.Mode == scan.Enforce {
			x.d.warn(join(path, "on_failure"), "mail leaves unscanned while the scanner is down")
		}
		if s.MaxSize < x.Message.MaxSize && s.TooLarge == scan.Pass && s.Mode == scan.Enforce {
			x.d.warn(join(path, "max_size"), "mail over it leaves unscanned; raise it to [message] max_size, or set too_large = \"refuse\"")
		}
	}
}
