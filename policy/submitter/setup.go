package submitter

import (
	"strings"
)

// Setup says in plain words what is read, and which settings the client's MTA needs for it,
// for Postfix, Exim or PHP. A source that cannot be parsed is left out.
func (c *Config) Setup() (lines []string) {
	for _, text := range c.Submitter {
		s, err := text.parse()
		if err != nil {
			continue
		}
		switch s.kind {
		case fromReceived:
			by := "its EHLO name"
			if len(c.SubmitterBy) > 0 {
				by += ", " + strings.Join(c.SubmitterBy, " or ")
			}
			lines = append(lines, "by the topmost Received line, which the client itself must write, with "+by+" behind \"by\"",
				"  Postfix, main.cf: smtpd_sasl_authenticated_header = yes (and no header_checks that take Received out)")
		case fromHeader:
			hidden := ""
			if c.HideSubmitter {
				hidden = ", which does not leave"
			}
			lines = append(lines, "by the field "+s.field+hidden+"; the client must take out those that its own users write",
				"  Exim, transport: headers_remove = "+s.field+" and headers_add = "+s.field+": $authenticated_id")
			if s.field == phpScript {
				lines = append(lines, "  PHP, php.ini: mail.add_x_header = On")
			}
		case fromXForward:
			lines = append(lines, "the network of the submitter, by XFORWARD",
				"  Postfix, main.cf: smtp_send_xforward_command = yes")
		}
	}
	return lines
}

// phpScript is the field of PHP's mail function.
const phpScript = "X-PHP-Originating-Script"
