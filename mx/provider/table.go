package provider

// table are the groups that are built in. Each name must be one that only the
// receiver gives to a host. Numbers are careful ones: receivers publish few.
var table = []Group{
	{Name: "google", MX: []string{"*.google.com", "*.googlemail.com"}, Connections: 5, MessagesPerConnection: 50, TLS: Required},
	{Name: "yahoo", MX: []string{"*.yahoodns.net"}, Connections: 5, MessagesPerConnection: 20},
	{Name: "outlook", MX: []string{"*.olc.protection.outlook.com"}, Connections: 5, MessagesPerConnection: 50},
	{Name: "office365", MX: []string{"*.mail.protection.outlook.com", "*.mx.microsoft", "*.mail.protection.office365.us", "*.mail.protection.partner.outlook.cn"},
		Connections: 10, MessagesPerConnection: 50},
	{Name: "apple", MX: []string{"*.mail.icloud.com"}, Connections: 5, MessagesPerConnection: 5},
	{Name: "mimecast", MX: []string{"*.mimecast.com", "*.mimecast.co.za", "*.mimecast-offshore.com"}, Connections: 10, MessagesPerConnection: 50},
	{Name: "proofpoint", MX: []string{"*.pphosted.com", "*.gpphosted.com", "*.ppe-hosted.com"}, Connections: 10, MessagesPerConnection: 50},
	{Name: "barracuda", MX: []string{"*.ess.barracudanetworks.com", "*.ess.de.barracudanetworks.com", "*.ess.uk.barracudanetworks.com"}, Connections: 10, MessagesPerConnection: 50},
	{Name: "cisco", MX: []string{"*.iphmx.com"}, Connections: 10, MessagesPerConnection: 50},
	{Name: "messagelabs", MX: []string{"*.messagelabs.com"}, Connections: 10, MessagesPerConnection: 50},
	{Name: "orange", MX: []string{"smtp-in.orange.fr", "smtp-in.wanadoo.fr"}, Connections: 3, MessagesPerConnection: 50, TLS: Required},
	{Name: "free", MX: []string{"mx1.free.fr", "mx2.free.fr"}, Connections: 3, MessagesPerConnection: 50},
	{Name: "comcast", MX: []string{"*.mxge.comcast.net", "mx1.comcast.net", "mx2.comcast.net"}, Connections: 5, MessagesPerConnection: 50, TLS: Required},
	{Name: "gmx", MX: []string{"*.gmx.net", "*.web.de", "mx00.mail.com", "mx01.mail.com"}, Connections: 5, MessagesPerConnection: 50},
	{Name: "ionos", MX: []string{"mx00.ionos.de", "mx01.ionos.de", "mx00.ionos.com", "mx01.ionos.com", "mx00.ionos.co.uk", "mx01.ionos.co.uk", "mx00.ionos.fr", "mx01.ionos.fr",
		"mx00.ionos.es", "mx01.ionos.es", "mx00.kundenserver.de", "mx01.kundenserver.de"}, Connections: 5, MessagesPerConnection: 50},
	{Name: "t-online", MX: []string{"mx00.t-online.de", "mx01.t-online.de", "mx02.t-online.de", "mx03.t-online.de"}, Connections: 5, MessagesPerConnection: 50},
	{Name: "zoho", MX: []string{"mx.zoho.com", "mx2.zoho.com", "mx3.zoho.com", "mx.zoho.eu", "mx2.zoho.eu", "mx3.zoho.eu", "mx.zoho.in", "mx2.zoho.in", "mx3.zoho.in"},
		Connections: 5, MessagesPerConnection: 50},
	{Name: "fastmail", MX: []string{"*.messagingengine.com"}, Connections: 5, MessagesPerConnection: 50},
	{Name: "proton", MX: []string{"mail.protonmail.ch", "mailsec.protonmail.ch"}, Connections: 5, MessagesPerConnection: 50},
	{Name: "yandex", MX: []string{"mx.yandex.ru", "mx.yandex.net"}, Connections: 5, MessagesPerConnection: 20},
	{Name: "mailru", MX: []string{"mxs.mail.ru", "emx.mail.ru"}, Connections: 5, MessagesPerConnection: 20},
	{Name: "qq", MX: []string{"mx1.qq.com", "mx2.qq.com", "mx3.qq.com", "mxbiz1.qq.com", "mxbiz2.qq.com"}, Connections: 3, MessagesPerConnection: 20},
	{Name: "netease", MX: []string{"*.mxmail.netease.com"}, Connections: 3, MessagesPerConnection: 20},
}
