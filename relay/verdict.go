package relay

import (
	"errors"
	"strings"
	"time"

	"postern/internal/syntax"
	"postern/mail"
	"postern/ratelimit"
	"postern/relay/replies"
)

// replyMailSyntax is the refusal that goes with an error of syntax.MailCommand.
func replyMailSyntax(err error) *mail.Reply {
	if r := replyParams(err); r != nil {
		return r
	}
	return replies.SenderSyntax()
}

// replyRcptSyntax is the refusal that goes with an error of syntax.RcptCommand.
func replyRcptSyntax(err error) *mail.Reply {
	if errors.Is(err, syntax.ErrLiteral) {
		return replies.Literal()
	}
	if r := replyParams(err); r != nil {
		return r
	}
	return replies.RecipientSyntax()
}

func replyParams(err error) *mail.Reply {
	switch {
	case errors.Is(err, syntax.ErrUnknownParam):
		return replies.UnknownParam()
	case errors.Is(err, syntax.ErrBadParam):
		return replies.BadParam()
	case errors.Is(err, syntax.ErrSourceRoute):
		return replies.SourceRoute()
	}
	return nil
}

// limitRefusal is the refusal that goes with a verdict. That the store of a limit
// is away is the store's doing and not the limit's.
func (t *transaction) limitRefusal(v *ratelimit.Decision) (rule string, r *mail.Reply) {
	if !v.StoreDown {
		return "limit " + v.Limit, t.limitReply(v)
	}
	if err := t.account.Err(); err != nil {
		t.ev.Err = err.Error()
		t.srv.fault("store", err, "limit", v.Limit, "id", t.ev.ID)
	}
	return ruleStore, replies.StoreFault()
}

// ruleStore decides where the store of limits is away.
const ruleStore = "store"

// limitReply tells a client which limit it has reached, as far as it is the
// client's own; of a budget that others share it learns only when to come back.
func (t *transaction) limitReply(v *ratelimit.Decision) *mail.Reply {
	who, unit := t.env.From.Shown(), v.Unit.String()
	if t.ev.Submitter != "" && strings.Contains(v.Per, "submitter") {
		who = t.shownSubmitter()
	}
	if v.Strangers {
		unit = "new " + unit
	}
	switch {
	case v.Never && v.Unit != ratelimit.Bytes, v.Max == 0:
		return replies.Stopped(who, v.Per, unit)
	case v.Never:
		return replies.NeverFits(who, v.Per, v.Max, window(v.Window))
	case sharedLimit(v.Per):
		return replies.SharedLimit(who, v.RetryAfter)
	}
	return replies.Limit(who, strings.ReplaceAll(v.Per, "_", " "), unit, v.Max, window(v.Window), v.RetryAfter)
}

// sharedLimit reports whether others count there, too, so that nothing of the budget is
// the client's own; per is as Decision.Per has it.
func sharedLimit(per string) bool {
	for what := range strings.SplitSeq(per, " and ") {
		switch what {
		case "stream", "upstream", "source ip", "provider", "all":
		default:
			return false
		}
	}
	return true
}

// window writes the length of a window as the configuration does.
func window(d time.Duration) string { return ratelimit.FormatWindow(d) }
