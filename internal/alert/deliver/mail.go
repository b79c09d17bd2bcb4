package deliver

import (
	"bytes"
	"context"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"

	"postern/internal/alert"
	"postern/internal/text"
)

// Submit hands one message to the upstream of a stream, for one recipient. refused says
// that the upstream would not have it, for good.
type Submit func(ctx context.Context, stream, from, to string, header, body []byte) (refused bool, err error)

// mailer tells by mail.
type mailer struct {
	form             form
	stream, from, to string
	submit           Submit
	now              func() time.Time
}

// maxSubject is how many octets of a subject are written, before it is encoded.
const maxSubject = 200

// mailTimeout bounds one try by mail.
const mailTimeout = time.Minute

func (m *mailer) Send(ctx context.Context, b *alert.Batch) alert.Result {
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	header, body := m.compose(b)
	refused, err := m.submit(ctx, m.stream, m.from, m.to, header, body)
	return alert.Result{Err: err, Refused: refused}
}

// compose makes the message (RFC 5322). Message-ID is made of the id of the batch, so
// that a copy after a lost reply can be told; the end of a condition answers its
// beginning.
func (m *mailer) compose(b *alert.Batch) (header, body []byte) {
	subject, words := m.form.text(b)
	var h bytes.Buffer
	fmt.Fprintf(&h, "From: Postern <%s>\r\nTo: <%s>\r\n", m.from, m.to)
	fmt.Fprintf(&h, "Subject: %s\r\n", mime.QEncoding.Encode("utf-8", text.Clip(subject, maxSubject)))
	fmt.Fprintf(&h, "Date: %s\r\n", b.Time.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	fmt.Fprintf(&h, "Message-ID: <%s@%s>\r\n", b.ID, m.form.relay)
	if len(b.Alerts) == 1 && b.Alerts[0].Status == alert.Resolved {
		fmt.Fprintf(&h, "In-Reply-To: <%s@%s>\r\n", b.Alerts[0].Opened, m.form.relay)
	}
	h.WriteString("Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n" + // RFC 3834 s. 5
		"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	var t bytes.Buffer
	q := quotedprintable.NewWriter(&t)
	q.Write([]byte(strings.ReplaceAll(words, "\n", "\r\n")))
	q.Close()
	return h.Bytes(), t.Bytes()
}
