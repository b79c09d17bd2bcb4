package relay

import (
	"bytes"

	"postern/internal/syntax"
	"postern/mail"
	"postern/relay/replies"
	"postern/relay/smtpd"
)

// intake takes the clean octets of one message: the header block into one
// piece, the body into a spool and through the hash that the signature needs.
type intake struct {
	cfg  *smtpd.MessageConfig
	from *smtpd.Message
	// headerEnds is called once, when the blank line has come; it returns the
	// writer that the rest goes through besides the spool, or nil.
	headerEnds func(header []byte) bodyWriter
	// lines finds the end of a header that ends at the first line that is not a field;
	// nil: only a blank line ends it.
	lines *syntax.HeaderLines
	ended bool // it did so

	header []byte // up to and including the blank line
	room   int64  // that header has, as counted in memory_total
	inBody bool
	body   spool
	hash   bodyWriter
	size   int64 // octets as the client sent them, transparency undone
}

// bodyWriter is fed the body as it comes (a hash).
type bodyWriter interface{ Write(p []byte) (int, error) }

// newIntake makes ready for what comes by m.
func newIntake(cfg *smtpd.MessageConfig, from *spooler, m *smtpd.Message) *intake {
	in := &intake{cfg: cfg, from: m, body: spool{from: from, memory: cfg.Memory, memoryTotal: cfg.MemoryTotal}}
	m.Take = in.take
	return in
}

// take is the Take of its smtpd.Message.
func (in *intake) take(run []byte) {
	in.size += int64(len(run))
	if in.size > in.cfg.MaxSize {
		in.refuse(replies.TooLarge(in.cfg.MaxSize))
		return
	}
	switch {
	case in.inBody:
	case in.lines != nil:
		run = in.takeLines(run)
	default:
		run = in.takeHeader(run)
	}
	in.takeBody(run)
}

func (in *intake) takeBody(run []byte) {
	if len(run) == 0 {
		return
	}
	in.body.write(run)
	in.from.Fault = in.body.err
	if in.hash != nil {
		in.hash.Write(run)
	}
}

// takeHeader appends the header's part of run to it and returns what lies
// behind the blank line.
func (in *intake) takeHeader(run []byte) (rest []byte) {
	end := in.headerEnd(run)
	in.inBody = end >= 0
	if !in.inBody {
		end = len(run)
	}
	if !in.keepHeader(run[:end]) || !in.inBody {
		return nil
	}
	in.endHeader()
	return run[end:]
}

func (in *intake) endHeader() {
	in.inBody = true
	if in.headerEnds != nil {
		in.hash = in.headerEnds(in.header)
	}
}

// takeLines is takeHeader where a line that is not a field ends the header, too. Then
// a blank line is put before it, so that for every reader the body begins there.
func (in *intake) takeLines(run []byte) (rest []byte) {
	body, blank, ok := in.lines.Next(run)
	if !ok {
		in.keepHeader(run)
		return nil
	}
	have := len(in.header)
	if body < have {
		in.cutHeader(body)
		return run
	}
	if !in.keepHeader(run[:body-have]) {
		return nil
	}
	if !blank && !in.blankLine() {
		return nil
	}
	in.endHeader()
	return run[body-have:]
}

// cutHeader ends the header before its last line, which goes to the body.
func (in *intake) cutHeader(at int) {
	line := bytes.Clone(in.header[at:])
	in.header = in.header[:at]
	if in.blankLine() {
		in.endHeader()
		in.takeBody(line)
	}
}

// blankLine puts one at the end of a header that the client has not ended; false
// when there is no room.
func (in *intake) blankLine() bool {
	in.ended = true
	return in.keepHeader(crlf)
}

var crlf = []byte("\r\n")

// keepHeader appends to the header; false when it was refused.
func (in *intake) keepHeader(part []byte) bool {
	size := int64(len(in.header) + len(part))
	if size > in.cfg.MaxHeaderSize {
		in.refuse(replies.HeaderTooLarge())
		return false
	}
	room, ok := in.body.head(in.room, size)
	if !ok {
		in.refuse(replies.Storage())
		return false
	}
	if room > in.room {
		in.header = append(make([]byte, 0, room), in.header...)
		in.room = room
	}
	in.header = append(in.header, part...)
	return true
}

// fieldSize is about what each field of a header takes beside its octets.
const fieldSize = 40

// holdFields counts the room of the fields that were found in the header; false
// when there is none.
func (in *intake) holdFields(n int) bool {
	room, ok := in.body.head(in.room, in.room+int64(n)*fieldSize)
	in.room = room
	return ok
}

// headerEnd is where in run the header ends, -1 when it does not.
func (in *intake) headerEnd(run []byte) int {
	have := len(in.header)
	if have == 0 {
		return syntax.HeaderEnd(run, 0)
	}
	// The blank line may lie across the seam.
	joint := append(in.header, run[:min(len(run), 3)]...)
	if end := syntax.HeaderEnd(joint, have); end >= 0 {
		return end - have
	}
	if i := bytes.Index(run, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	return -1
}

// refuse remembers why the message is not taken and gives its room back.
func (in *intake) refuse(r *mail.Reply) {
	in.from.Refuse(r)
	in.drop()
}

// drop gives all room back.
func (in *intake) drop() {
	in.body.from.heads.Add(-in.room)
	in.header, in.room = nil, 0
	in.body.drop()
}

// end is called when the last octet has come. A message that is all header has
// its header judged now.
func (in *intake) end() {
	if in.inBody || in.from.Refusal != nil {
		return
	}
	if in.lines != nil {
		if at, ok := in.lines.End(); ok {
			in.cutHeader(at)
			return
		}
	}
	in.endHeader()
}
