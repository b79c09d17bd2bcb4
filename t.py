import smtplib,sys
for i in range(int(sys.argv[1])):
    try:
        s=smtplib.SMTP("127.0.0.1",2599,timeout=20)
        r=s.sendmail("news@example.org",["a@dest.example","b%d@dest.example"%i],"From: news@example.org\r\nSubject: x\r\n\r\nhi\r\n")
        print(i,"ok",r); s.quit()
    except smtplib.SMTPRecipientsRefused as e: print(i,e.recipients)
    except Exception as e: print(i,repr(e))
