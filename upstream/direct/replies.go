package direct

import (
	"fmt"
	"time"

	"postern/mail"
)

// The replies that are given where there is no host to ask.

func replyNoDomain(to mail.Address) mail.Reply {
	return mail.Reply{Code: 550, Status: "5.1.2", Text: to.Shown() + ": domain does not exist"}
}

func replyNullMX(to mail.Address) mail.Reply {
	return mail.Reply{Code: 556, Status: "5.1.10", Text: to.Shown() + ": domain takes no mail (null MX)"}
}

func replyNoAddress(to mail.Address) mail.Reply {
	return mail.Reply{Code: 550, Status: "5.4.4", Text: to.Shown() + ": domain has no address that mail may be sent to"}
}

func replyLoop(to mail.Address) mail.Reply {
	return mail.Reply{Code: 554, Status: "5.4.6", Text: to.Shown() + ": mail for this domain loops back to this relay"}
}

func replyDNS(to mail.Address) mail.Reply {
	return mail.Reply{Code: 451, Status: "4.4.3", Text: to.Shown() + ": DNS does not say now who takes mail for this domain, try again later"}
}

func replyFamily(to mail.Address) mail.Reply {
	return mail.Reply{Code: 451, Status: "4.4.4", Text: to.Shown() + ": mail hosts of this domain have no address that can be reached from here"}
}

func replyUnreachable(to mail.Address) mail.Reply {
	return mail.Reply{Code: 451, Status: "4.4.1", Text: to.Shown() + ": no mail host of this domain takes a connection now, try again later"}
}

func replySlow(to mail.Address) mail.Reply {
	return mail.Reply{Code: 451, Status: "4.4.5", Text: to.Shown() + ": mail hosts of this domain are slow, and several of your messages wait for them, try again later"}
}

func replyPolicy(to mail.Address) mail.Reply {
	return mail.Reply{Code: 451, Status: "4.7.5", Text: to.Shown() + ": TLS that this domain asks for (MTA-STS, DANE) cannot be had now, try again later"}
}

func replyWarmup(to mail.Address, wait time.Duration) mail.Reply {
	return mail.Reply{Code: 450, Status: "4.7.1", Text: fmt.Sprintf("%s: sending to this receiver is being warmed up, retry in %d seconds", to.Shown(), int64(wait/time.Second))}
}

func replySeveral() mail.Reply {
	return mail.Reply{Code: 452, Status: "4.5.3", Text: "too many recipient domains, send the rest in another transaction"}
}
