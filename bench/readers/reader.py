"""Says whom Python's email takes for the authors of messages.

Each line of the input is a message in base64; each line of the output is a
JSON list of addresses, or null where no From field was found. The argument
chooses the way to read them.
"""

import base64
import email
import email.policy
import json
import sys
from email.header import decode_header, make_header
from email.utils import getaddresses, parseaddr


def policy_default(raw):
    field = email.message_from_bytes(raw, policy=email.policy.default)["From"]
    return None if field is None else [a.addr_spec for a in field.addresses]


def compat32(raw):
    field = email.message_from_bytes(raw)["From"]
    if field is None:
        return None
    field = str(field)
    return [parseaddr(field)[1]] + [a for _, a in getaddresses([field])]


def decoded_first(raw):
    field = email.message_from_bytes(raw)["From"]
    if field is None:
        return None
    try:
        field = str(make_header(decode_header(field)))
    except (LookupError, ValueError):
        return []
    return [parseaddr(field)[1]] + [a for _, a in getaddresses([field])]


read = {"default": policy_default, "compat32": compat32, "decoded": decoded_first}[sys.argv[1]]
for line in sys.stdin.buffer:
    try:
        authors = read(base64.b64decode(line))
    except Exception as problem:  # a reader that breaks shows nobody
        authors = []
        print(problem, file=sys.stderr)
    if authors is not None:  # octets beyond ASCII come as surrogates
        authors = [a.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for a in authors]
    print(json.dumps(authors))
