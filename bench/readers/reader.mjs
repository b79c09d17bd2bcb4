// Says whom readers in JavaScript take for the authors of messages: each line of
// the input is a message in base64, each line of the output a JSON list of
// addresses, or null where no From field was found. The argument names the
// reader.
import { createInterface } from "node:readline";
import PostalMime, { addressParser as postalAddresses } from "postal-mime";
import nodemailer from "nodemailer/lib/addressparser/index.js";
import emailjsModule from "emailjs-addressparser";

const emailjs = emailjsModule.default ?? emailjsModule;

// flat is the addresses of a list with groups.
function flat(list) {
  return (list ?? []).flatMap((a) => (a.group ? flat(a.group) : [a.address ?? ""]));
}

// fromOf is the unfolded value of From, as MIME libraries hand it to a parser.
function fromOf(message) {
  const header = message.toString("utf8").split("\r\n\r\n")[0].replace(/\r\n(?=[ \t])/g, "");
  const line = header.split("\r\n").find((l) => /^from:/i.test(l));
  return line === undefined ? null : line.slice(line.indexOf(":") + 1).trim();
}

const readers = {
  async "postal-mime"(message) {
    const mail = await PostalMime.parse(message);
    if (!mail.headers.some((h) => h.key === "from")) return null;
    return [...flat(mail.from ? [mail.from] : []), ...flat(postalAddresses(fromOf(message) ?? ""))];
  },
  nodemailer(message) {
    const value = fromOf(message);
    return value === null ? null : flat(nodemailer(value));
  },
  emailjs(message) {
    const value = fromOf(message);
    return value === null ? null : flat(emailjs(value));
  },
};

const read = readers[process.argv[2]];
for await (const line of createInterface({ input: process.stdin })) {
  let authors = [];
  try {
    authors = await read(Buffer.from(line, "base64"));
  } catch (problem) {
    console.error(String(problem)); // a reader that breaks shows nobody
  }
  process.stdout.write(JSON.stringify(authors) + "\n");
}
