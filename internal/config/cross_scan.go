package config

import "postern/scan"

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
