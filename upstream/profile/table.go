package profile

// all is the table. docs/providers.md has the same rows for people, which a test
// holds together.
var all = []Profile{
	{
		Name: "ses", Title: "Amazon SES",
		WhichHost: `each region has its own; write hosts = ["email-smtp.eu-west-1.amazonaws.com:587"]`,
		Under:     []string{"email-smtp.*.amazonaws.com", "email-smtp-fips.*.amazonaws.com"},
		TLS:       "verified", TLSMin: "1.2",
		Login:         true,
		MaxRecipients: 50,
		SignKeys:      []string{"first"}, OneSignature: true, UnsignedFields: []string{"Message-ID", "Date"}, ClientSignatures: "remove",
		Quirks: []string{
			"It refuses a second DKIM-Signature field, and any other duplicate field, with 554 after the message.",
			"It replaces Message-ID and Date by its own; its final reply has the new id.",
			`It signs mail itself if Easy DKIM is enabled for the domain; then set sign_keys = "none".`,
			"It accepts mail from verified senders only, and checks From, Sender and Return-Path.",
		},
		Sources: []string{
			"https://docs.aws.amazon.com/ses/latest/dg/header-fields.html",
			"https://docs.aws.amazon.com/ses/latest/dg/send-email-authentication-dkim-manual.html",
			"https://docs.aws.amazon.com/ses/latest/dg/smtp-connect.html",
			"https://docs.aws.amazon.com/ses/latest/dg/quotas.html",
			"https://github.com/axllent/mailpit/issues/642",
		},
	},
	{
		Name: "microsoft365", Title: "Microsoft 365, SMTP AUTH of a mailbox",
		Hosts: []string{"smtp.office365.com:587"},
		Under: []string{"smtp.office365.com", "smtp-legacy.office365.com"},
		TLS:   "verified", TLSMin: "1.2",
		Login:          true,
		MaxConnections: 3, MaxRecipients: 500,
		Quirks: []string{
			"The user name is a mailbox. A message with another mailbox in From is refused with 554 5.2.252 unless the first has the right to send as the other.",
			"Basic authentication is being switched off (535 5.7.139): log in with oauth.",
			`It accepts 30 messages a minute and 10,000 recipients a day from a mailbox: set a limit with per = "upstream", messages = ["30/1m"], recipients = ["10000/24h"].`,
			"Each message is kept in the Sent Items folder of the mailbox. When the mailbox is full, mail is refused with 554 5.2.2.",
		},
		Sources: []string{
			"https://learn.microsoft.com/en-us/exchange/troubleshoot/send-emails/smtp-submission-improvements",
			"https://learn.microsoft.com/en-us/exchange/mail-flow-best-practices/how-to-set-up-a-multifunction-device-or-application-to-send-email-using-microsoft-365-or-office-365",
			"https://learn.microsoft.com/en-us/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits",
			"https://learn.microsoft.com/en-us/exchange/clients-and-mobile-in-exchange-online/deprecation-of-basic-authentication-exchange-online",
		},
	},
	{
		Name: "google-workspace", Title: "Google Workspace, SMTP relay service",
		Hosts: []string{"smtp-relay.gmail.com:587"},
		Under: []string{"smtp-relay.gmail.com"},
		TLS:   "verified", TLSMin: "1.2",
		MaxRecipients: 100,
		Quirks: []string{
			"It identifies its customer by source address and the domain of the EHLO name, or by a login: give the stream an ehlo in your domain and a source_ip that is registered there. Otherwise mail is refused with 550 5.7.1.",
			"It accepts 10,000 recipients a day from each user. Beyond that, that user's mail is refused with 550 5.4.5.",
		},
		Sources: []string{
			"https://support.google.com/a/answer/2956491",
			"https://support.google.com/a/answer/6140680",
		},
	},
	{
		Name: "sendgrid", Title: "Twilio SendGrid",
		Hosts: []string{"smtp.sendgrid.net:587"},
		Under: []string{"smtp.sendgrid.net", "smtp.eu.sendgrid.net"},
		TLS:   "verified", TLSMin: "1.2",
		Login:    true,
		Username: "apikey", MessagesPerConnection: 1000,
		Quirks: []string{
			"The user name is the word apikey, and the password is an API key.",
			"It closes a connection after 5,000 messages.",
			`If it tracks clicks or opens, it changes the text and breaks our signature; then set sign_keys = "none" and let it sign for your domain.`,
			"If there are several X-SMTPAPI fields, it reads the first.",
		},
		Sources: []string{
			"https://www.twilio.com/docs/sendgrid/for-developers/sending-email/integrating-with-the-smtp-api",
			"https://www.twilio.com/docs/sendgrid/for-developers/sending-email/building-an-x-smtpapi-header",
		},
	},
	{
		Name: "mailgun", Title: "Mailgun",
		Hosts: []string{"smtp.mailgun.org:587"},
		Under: []string{"smtp.mailgun.org", "smtp.eu.mailgun.org"},
		TLS:   "verified", TLSMin: "1.2",
		Login: true,
		Quirks: []string{
			`For domains in the EU, write hosts = ["smtp.eu.mailgun.org:587"]. At the wrong host the login fails.`,
			"User name and password are those of the sending domain, not the API key.",
			`If it tracks clicks or opens, it changes the text and breaks our signature; then set sign_keys = "none". It signs for the domain unless X-Mailgun-Dkim says no.`,
		},
		Sources: []string{
			"https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/send-smtp",
			"https://www.mailgun.com/blog/email/which-smtp-port-understanding-ports-25-465-587/",
		},
	},
	{
		Name: "postmark", Title: "Postmark",
		Hosts: []string{"smtp.postmarkapp.com:587"},
		Under: []string{"smtp.postmarkapp.com", "smtp-broadcasts.postmarkapp.com"},
		TLS:   "verified", TLSMin: "1.2",
		Login:         true,
		MaxRecipients: 50,
		SignKeys:      []string{"none"}, ClientSignatures: "remove",
		Quirks: []string{
			"It rebuilds each message, which breaks every earlier signature; it signs for domains that are set up there.",
			"Send bulk mail to smtp-broadcasts.postmarkapp.com, or with a field X-PM-Message-Stream.",
			"It replaces the Message-ID by its own unless a field X-PM-KeepID says true.",
		},
		Sources: []string{
			"https://postmarkapp.com/developer/user-guide/send-email-with-smtp",
			"http://developer.postmarkapp.com/developer-smtp.html",
		},
	},
	{
		Name: "stalwart", Title: "Stalwart, with its default limits",
		WhichHost: "you run the server yourself; name it",
		TLS:       "verified", TLSMin: "1.2",
		MessagesPerConnection: 10,
		Quirks: []string{
			"It accepts ten messages on a connection and answers the next one with 452 4.4.5, without closing it.",
		},
		Sources: []string{
			"https://github.com/stalwartlabs/stalwart/issues/1384",
		},
	},
}
