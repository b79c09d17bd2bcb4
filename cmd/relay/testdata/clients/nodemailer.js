// One message by nodemailer: PORT CA USER PASSWORD FROM TO
const fs = require('fs');
const nodemailer = require('/usr/share/nodejs/nodemailer');

const [port, ca, user, pass, from, to] = process.argv.slice(2);
const transport = nodemailer.createTransport({
    host: '127.0.0.1',
    port: Number(port),
    requireTLS: true,
    tls: { ca: [fs.readFileSync(ca)] },
    auth: { user, pass },
});
transport.sendMail({
    from: { name: 'Büro "Nord"', address: from },
    to,
    bcc: 'hidden@dest.example',
    subject: 'Grüße von nodemailer',
    text: 'Guten Tag\n.\n..x\nä\n',
    html: '<p>Guten Tag</p>',
    attachments: [{ filename: 'a.bin', content: Buffer.alloc(2000, 0xff) }],
}).then(() => transport.close(), (err) => {
    console.error(err.message);
    process.exit(1);
});
