# One message by Python's smtplib: PORT CA USER PASSWORD FROM TO
import smtplib, ssl, sys
from email.message import EmailMessage

port, ca, user, password, sender, to = sys.argv[1:]
m = EmailMessage()
m["From"] = "Büro <%s>" % sender
m["To"] = to
m["Bcc"] = "hidden@dest.example"
m["Subject"] = "Grüße von smtplib"
m.set_content("Guten Tag,\n.\n..\n.x\nein Punkt am Anfang und ä.\n")
m.add_attachment(b"\x00\x01\xff" * 1000, maintype="application", subtype="octet-stream", filename="a.bin")
with smtplib.SMTP("127.0.0.1", int(port), "client.example.org", timeout=30) as s:
    s.starttls(context=ssl.create_default_context(cafile=ca))
    s.login(user, password)
    s.send_message(m)
