package config

import (
	"strconv"

	"postern/internal/parts"
	"postern/scan"
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
