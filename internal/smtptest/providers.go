package smtptest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Providers are servers that take, refuse and change mail as providers say that
// they do, or were seen to do; docs/providers.md of the project names the
// sources. They speak in plain text unless the caller adds TLS.
var Providers = map[string]func() Options{
	"ses": SES, "microsoft365": Microsoft365, "google-workspace": GoogleWorkspace, "stalwart": Stalwart,
}

// SES is Amazon SES: no field of a list twice, at most 50 recipients; it puts
// Message-ID and Date of its own in place of those that came.
func SES() Options {
	return Options{
		Name:  "email-smtp.eu-west-1.amazonaws.com",
		Offer: []string{"8BITMIME", "SIZE 41943040", "AUTH PLAIN LOGIN", "Ok"},
		Judge: func(s Step) string {
			if s.Stage != Dot {
				return ""
			}
			if s.Message != nil && len(s.Message.To) > 50 {
				return "554 Transaction failed: Recipient count exceeds 50."
			}
			if name := twice(s.Message.Data); name != "" {
				return "554 Transaction failed: Duplicate header '" + name + "'."
			}
			id := fmt.Sprintf("0102018f-%d.%d", s.Message.Conn, s.Taken+1)
			s.Message.Data = replaceField(s.Message.Data, "Message-ID", "<"+id+"@eu-west-1.amazonses.com>")
			s.Message.Data = replaceField(s.Message.Data, "Date", "Sun, 29 Nov 2026 10:00:07 +0000")
			return "250 Ok " + id
		},
	}
}

// once are fields that must not occur twice at Amazon SES, some of its list.
var once = []string{
	"Auto-Submitted", "Content-Type", "Date", "DKIM-Signature", "From", "In-Reply-To", "List-Id", "List-Unsubscribe",
	"List-Unsubscribe-Post", "Message-ID", "MIME-Version", "Precedence", "References", "Reply-To", "Return-Path", "Sender", "Subject",
}

// fields are those of a message, each with its folded lines and CR LF.
func fields(data []byte) (all [][]byte, body []byte) {
	header, body, _ := bytes.Cut(data, []byte("\r\n\r\n"))
	for line := range bytes.SplitAfterSeq(append(header, "\r\n"...), []byte("\r\n")) {
		switch {
		case len(line) == 0:
		case len(all) > 0 && (line[0] == ' ' || line[0] == '\t'):
			all[len(all)-1] = append(all[len(all)-1], line...)
		default:
			all = append(all, slices.Clone(line))
		}
	}
	return all, body
}

func isField(field []byte, name string) bool {
	have, _, _ := bytes.Cut(field, []byte(":"))
	return strings.EqualFold(string(have), name)
}

// twice is the first field that occurs twice and must not; "" for none.
func twice(data []byte) string {
	all, _ := fields(data)
	for _, name := range once {
		n := 0
		for _, f := range all {
			if isField(f, name) {
				n++
			}
		}
		if n > 1 {
			return name
		}
	}
	return ""
}

// replaceField puts another value in place of a field's.
func replaceField(data []byte, name, value string) []byte {
	all, body := fields(data)
	for i, f := range all {
		if isField(f, name) {
			all[i] = []byte(name + ": " + value + "\r\n")
		}
	}
	return slices.Concat(bytes.Join(all, nil), []byte("\r\n"), body)
}

// Microsoft365 is Exchange Online for SMTP AUTH: mail without AUTH is refused at
// MAIL, mail of an author other than the mailbox that logged in behind the dot,
// and so are more than 500 recipients.
func Microsoft365() Options {
	return Options{
		Name:  "DB9PR01CA0001.outlook.office365.com",
		Offer: []string{"SIZE 157286400", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "AUTH LOGIN XOAUTH2", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8"},
		Judge: func(s Step) string {
			switch {
			case s.Stage == Mail && s.User == "":
				return "530 5.7.57 Client not authenticated to send mail. [DB9PR01CA0001.eurprd01.prod.exchangelabs.com]"
			case s.Stage == Rcpt && s.To >= 500:
				return "452 4.5.3 Too many recipients"
			case s.Stage == Dot && !hasAuthor(s.Message.Data, s.User):
				return "554 5.2.252 SendAsDenied; " + s.User + " not allowed to send as another; STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied"
			case s.Stage == Dot:
				return fmt.Sprintf("250 2.0.0 OK <%d.%d@example.prod.outlook.com> [Hostname=DB9PR01MB0001.eurprd01.prod.outlook.com]", s.Message.Conn, s.Taken+1)
			}
			return ""
		},
	}
}

// hasAuthor reports whether an address stands in From.
func hasAuthor(data []byte, address string) bool {
	all, _ := fields(data)
	return slices.ContainsFunc(all, func(f []byte) bool {
		return isField(f, "From") && strings.Contains(strings.ToLower(string(f)), strings.ToLower(address))
	})
}

// GoogleWorkspace is the SMTP relay service of Google: it knows its customer by
// the domain of EHLO, takes 100 recipients a transaction and offers no DSN.
func GoogleWorkspace() Options {
	return Options{
		Name:  "smtp-relay.gmail.com",
		Offer: []string{"SIZE 157286400", "8BITMIME", "ENHANCEDSTATUSCODES", "PIPELINING", "CHUNKING", "SMTPUTF8"},
		Judge: func(s Step) string {
			switch {
			case s.Stage == Mail && !strings.HasSuffix("."+s.EHLO, ".example.org") && s.User == "":
				return "550-5.7.1 Invalid credentials for relay [192.0.2.25]. The IP address you've\n550-5.7.1 registered in your G Suite SMTP Relay service doesn't match the domain of\n550 5.7.1 the account this email is being sent from. - gsmtp"
			case s.Stage == Rcpt && s.To >= 100:
				return "452 4.5.3 Your message has too many recipients. For more information regarding Google's sending limits, visit https://support.google.com/a/answer/6140680 - gsmtp"
			case s.Stage == Dot:
				return fmt.Sprintf("250 2.0.0 OK  1764410400 %d-%d - gsmtp", s.Message.Conn, s.Taken+1)
			}
			return ""
		},
	}
}

// Stalwart takes ten messages a session, tells the eleventh 452 at DATA, and stays.
func Stalwart() Options {
	return Options{
		Name:  "mail.stalwart.example",
		Offer: []string{"8BITMIME", "BINARYMIME", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES", "PIPELINING", "SIZE 104857600", "SMTPUTF8"},
		Judge: func(s Step) string {
			switch {
			case s.Stage == Data && s.Taken >= 10:
				return "452 4.4.5 Maximum number of messages per session exceeded."
			case s.Stage == Dot:
				return fmt.Sprintf("250 2.0.0 Message queued with id %d%d.", s.Message.Conn, s.Taken+1)
			}
			return ""
		},
	}
}
