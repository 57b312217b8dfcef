"""Requests whose bytes different stacks read differently, and what has to become of each.

An accepted row says what was decided on: method, name and the JSON text of the arguments. A refused row must not cost
the upstream one byte. `EITHER` is for what the protocol leaves open: if it goes through, it must mean what the row says.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from enum import Enum


class Fate(Enum):
    ACCEPT = "accept"
    REFUSE = "refuse"
    EITHER = "either"


@dataclass(frozen=True)
class Row:
    name: str
    request: bytes
    fate: Fate
    method: str = "tools/call"
    tool: str | None = "safe"
    arguments: str | None = "{}"
    statuses: frozenset[int] = frozenset({400})


HOST = b"host: notes.tools.svc.cluster.local:8080"
ACCEPT = b"accept: application/json, text/event-stream"
JSON = b"content-type: application/json"
VERSION = b"mcp-protocol-version: 2025-06-18"
USUAL = [HOST, ACCEPT, JSON, VERSION]

# What a refusal may look like, by what is wrong.
PARSE = frozenset({400})
# 403: a POST whose media type has no JSON in it is plain HTTP, which no rule allows here.
MEDIA = frozenset({400, 403, 415})
FRAMING = frozenset({400, 501, 505})
POLICY = frozenset({200})  # with a JSON-RPC error in it, as the caller's session has to live
SHAPE = PARSE | POLICY  # a known method with params of the wrong shape
PATH = frozenset({400, 403, 404})


def http(body: bytes, head: list[bytes] | None = None, target: bytes = b"/mcp", length: bytes | None = None) -> bytes:
    """A POST with `body`; `head` in place of the usual lines; `length` in place of the true Content-Length line."""
    lines = [b"POST " + target + b" HTTP/1.1", *(USUAL if head is None else head)]
    lines.append(b"content-length: %d" % len(body) if length is None else length)
    return b"\r\n".join([line for line in lines if line] + [b"", body])


def message(params: str, method: str = '"tools/call"', id: str = "1", more: str = "") -> bytes:
    return f'{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}{more}}}'.encode()


def call(arguments: str = "{}", name: str = '"safe"', more: str = "", **envelope: str) -> bytes:
    return message(f'{{"name":{name},"arguments":{arguments}{more}}}', **envelope)


def chunked(body: bytes, trailer: bytes = b"") -> bytes:
    half = len(body) // 2
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return pieces + b"0\r\n" + trailer + b"\r\n"


ROWS: list[Row] = []


def accept(name: str, body: bytes, arguments: str | None = "{}", tool: str | None = "safe", **more: object) -> None:
    request = more.pop("request", None) or http(body)
    ROWS.append(Row(name, request, Fate.ACCEPT, tool=tool, arguments=arguments, **more))  # type: ignore[arg-type]


def either(name: str, body: bytes, arguments: str | None = "{}", **more: object) -> None:
    request = more.pop("request", None) or http(body)
    ROWS.append(Row(name, request, Fate.EITHER, arguments=arguments, **more))  # type: ignore[arg-type]


def refuse(name: str, body: bytes, statuses: frozenset[int] = PARSE, request: bytes | None = None) -> None:
    ROWS.append(Row(name, request or http(body), Fate.REFUSE, statuses=statuses))


def _accepted() -> None:
    accept("plain", call())
    accept("an argument", call('{"owner":"acme"}'), '{"owner":"acme"}')
    accept("escaped method key", b'{"jsonrpc":"2.0","id":1,"m\\u0065thod":"tools/call","params":{"name":"safe"}}', None)
    accept("escaped method", call(method='"\\u0074ools\\/call"'))
    accept("escaped name", call(name='"\\u0073\\u0061fe"'))
    accept("name in another script", call(name='"søk_日本"'), tool="søk_日本")
    accept("the same name escaped", call(name='"s\\u00f8k_\\u65E5\\u672c"'), tool="søk_日本")
    accept("text", call('{"t":"naïve 日本 😀 \\ud83d\\ude00"}'), '{"t":"naïve 日本 😀 😀"}')
    accept("escapes", call('{"t":"\\b\\f\\n\\r\\t\\"\\\\\\/"}'), '{"t":"\\b\\f\\n\\r\\t\\"\\\\/"}')
    accept("separators of lines in text", call('{"t":"\u2028\u2029\u007f\u0085"}'), '{"t":"\u2028\u2029\u007f\u0085"}')
    numbers = '{"a":1.50,"b":1E3,"c":1e-7,"d":-0,"e":-0.0,"f":0.1,"g":9007199254740993,"h":1e+02}'
    accept("number texts", call(numbers), numbers)
    big = '{"n":123456789012345678901234567890,"m":-0.1000000000000000055511151231257827}'
    accept("numbers beyond 64 bits", call(big), big)
    nested = '{"a":' * 20 + "[[[[[1]]]]]" + "}" * 20
    accept("nested", call(nested), nested)
    accept("empty keys and values", call('{"":"","a":[],"b":{},"c":null}'), '{"":"","a":[],"b":{},"c":null}')
    accept("arguments left out", message('{"name":"safe"}'), None)
    accept("arguments null", call("null"), None)
    ordered = '{"params":{"arguments":{"b":1,"a":2},"name":"safe"},"method":"tools/call","id":1,"jsonrpc":"2.0"}'
    accept("key order", ordered.encode(), '{"b":1,"a":2}')
    spaced = ' \r\n\t{ "jsonrpc" : "2.0" ,\n"id" : 1 , "method" : "tools/call" , "params" : { "name" : "safe" ,'
    accept("whitespace", (spaced + ' "arguments" : { "x" : [ 1 , 2 ] } } }\r\n ').encode(), '{"x":[1,2]}')
    accept("vendor params", call(more=',"x-vendor":{"k":[1,2.50]},"task":{"ttl":60000}'))
    accept("_meta", call(more=',"_meta":{"progressToken":7,"example.com/trace":"a-b"}'))
    long = '{"t":"' + "x" * 100_000 + '"}'
    accept("long text", call(long), long)
    accept("keys that look like ours", call('{"name":"danger","method":"x","params":{"name":"danger"}}'),
           '{"name":"danger","method":"x","params":{"name":"danger"}}')
    for id in ("0", "-7", "9007199254740991", '"1"', '"a\\u0062c"', '""'):
        accept(f"id {id}", call(id=id))
    accept("tools/list", message("{}", method='"tools/list"', id="3"), None, None, method="tools/list")
    accept("tools/list without params", b'{"jsonrpc":"2.0","id":3,"method":"tools/list"}', None, None, method="tools/list")
    accept("ping", b'{"jsonrpc":"2.0","id":"p","method":"ping"}', None, None, method="ping")
    accept("initialized", b'{"jsonrpc":"2.0","method":"notifications/initialized"}', None, None,
           method="notifications/initialized")


def _accepted_http() -> None:
    body = call('{"x":1}')
    plain = {"arguments": '{"x":1}'}
    te = [*USUAL, b"transfer-encoding: chunked"]
    accept("chunked", b"", request=http(chunked(body), te, length=b""), **plain)
    accept("chunked, lying trailer", b"", **plain,
           request=http(chunked(body, b"mcp-name: danger\r\ncontent-length: 3\r\n"), te, length=b""))
    accept("charset=utf-8", b"", **plain,
           request=http(body, [HOST, ACCEPT, b"content-type: application/json; charset=utf-8", VERSION]))
    accept("media type in capitals", b"", **plain,
           request=http(body, [HOST, ACCEPT, b"content-type: APPLICATION/JSON", VERSION]))
    accept("lying Mcp-Method and Mcp-Name", b"", **plain,
           request=http(body, [*USUAL, b"mcp-method: tools/list", b"mcp-name: danger"]))
    accept("method override headers", b"", **plain,
           request=http(body, [*USUAL, b"x-http-method-override: DELETE", b"x-method-override: GET"]))
    accept("Upgrade: h2c", b"", **plain,
           request=http(body, [*USUAL, b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAMAAABk"]))
    accept("Expect: 100-continue", b"", **plain, request=http(body, [*USUAL, b"expect: 100-continue"]))
    accept("hop-by-hop headers", b"", **plain,
           request=http(body, [*USUAL, b"connection: x-secret", b"x-secret: 1", b"te: trailers"]))
    accept("accept in two lines", b"", **plain,
           request=http(body, [HOST, b"accept: application/json", b"accept: text/event-stream", JSON, VERSION]))


def _refused_json() -> None:
    refuse("duplicate name", call(more=',"name":"danger"'))
    refuse("duplicate name, danger first", call(name='"danger"', more=',"name":"safe"'))
    refuse("duplicate name by escape", call(more=',"n\\u0061me":"danger"'))
    refuse("duplicate params", call()[:-1] + b',"params":{"name":"danger"}}')
    refuse("duplicate method", call()[:-1] + b',"method":"ping"}')
    refuse("duplicate method by escape", call()[:-1] + b',"m\\u0065thod":"ping"}')
    refuse("duplicate id", call()[:-1] + b',"id":2}')
    refuse("duplicate arguments", call(more=',"arguments":{"x":1}'))
    refuse("duplicate argument", call('{"owner":"acme","owner":"globex"}'))
    refuse("duplicate argument by escape", call('{"owner":"acme","\\u006fwner":"globex"}'))
    refuse("duplicate deep inside", call('{"a":[{"b":{"c":1,"c":2}}]}'))
    refuse("duplicate in vendor params", call(more=',"x":{"y":1,"y":2}'))
    refuse("Method beside method", call()[:-1] + b',"Method":"ping"}')
    refuse("Name beside name", call(more=',"Name":"danger"'), SHAPE)
    refuse("Method alone", call().replace(b'"method"', b'"Method"'))
    refuse("BOM", b"\xef\xbb\xbf" + call())
    refuse("UTF-16", b"", MEDIA, http(call().decode().encode("utf-16"), [HOST, ACCEPT, VERSION, JSON + b"; charset=utf-16"]))
    refuse("UTF-16 without charset", call().decode().encode("utf-16-le"))
    refuse("UTF-32 without charset", call().decode().encode("utf-32"))
    refuse("batch", b"[" + call() + b"," + call(name='"danger"', id="2") + b"]")
    refuse("batch of one", b"[" + call() + b"]")
    refuse("nested batch", b"[[" + call() + b"]]")
    refuse("empty batch", b"[]")
    refuse("two messages", call() + call(name='"danger"'))
    refuse("two lines", call() + b"\n" + call(name='"danger"'))
    refuse("trailing text", call() + b" x")
    refuse("trailing NUL", call() + b"\x00")
    refuse("trailing comma", call('{"x":1,}'))
    refuse("comment", call('{/* x */"x":1}'))
    refuse("single quotes", call("{'x':1}"))
    refuse("raw control character", call('{"x":"a\tb"}'))
    for text in ("NaN", "Infinity", "-Infinity", "+1", "01", ".5", "1.", "0x10", "1e999"):
        refuse(f"number {text}", call(f'{{"x":{text}}}'))
    refuse("invalid UTF-8", call('{"x":"@"}').replace(b"@", b"\xff"))
    refuse("overlong UTF-8", call('{"x":"@"}').replace(b"@", b"\xc0\xaf"))
    refuse("surrogate in UTF-8", call('{"x":"@"}').replace(b"@", b"\xed\xa0\x80"))
    refuse("lone surrogate", call('{"x":"\\ud800"}'))
    refuse("surrogates the wrong way round", call('{"x":"\\ude00\\ud83d"}'))
    refuse("unknown escape", call('{"x":"\\x41"}'))
    refuse("depth 200", call('{"x":' + "[" * 200 + "]" * 200 + "}"))
    refuse("depth 20000", call('{"x":' + "[" * 20000 + "]" * 20000 + "}"))
    refuse("5 MB", call('{"x":"' + "x" * 5_000_000 + '"}'), frozenset({400, 413}))
    refuse("empty", b"")
    refuse("half a message", call()[:-3])
    for text in ("null", "1", '"tools/call"', "true"):
        refuse(f"message {text}", text.encode())


def _refused_envelope() -> None:
    refuse("no jsonrpc", b'{"id":1,"method":"tools/call","params":{"name":"safe"}}')
    refuse("jsonrpc 1.0", call().replace(b'"2.0"', b'"1.0"'))
    refuse("jsonrpc as a number", call().replace(b'"2.0"', b"2.0"))
    for id in ("null", "true", "{}", "[1]", "1.5", "1.0", "1e0", "9007199254740993", "-9007199254740993"):
        refuse(f"id {id}", call(id=id))
    refuse("call without id", call().replace(b'"id":1,', b""), frozenset({400, 202}))
    refuse("method and result", call()[:-1] + b',"result":{}}')
    refuse("method and error", call()[:-1] + b',"error":{"code":1,"message":"x"}}')
    refuse("method null", call(method="null"))
    refuse("method empty", call(method='""'), SHAPE)
    refuse("method with NUL", call(method='"tools/call\\u0000"'), SHAPE)
    refuse("method in capitals", call(method='"TOOLS/CALL"'), SHAPE)
    refuse("method with a space", call(method='"tools/call "'), SHAPE)
    refuse("params array", message('["safe"]'), SHAPE)
    refuse("params null", message("null"), SHAPE)
    refuse("params text", message('"safe"'), SHAPE)
    for text in ('"{}"', "[]", "1", "true"):
        refuse(f"arguments {text}", call(text), SHAPE)
    for text in ("5", "null", '["safe"]', '{"a":"safe"}', '""', '"safe\\u0000"', '" safe"', '"Safe"', '"safe\\n"'):
        refuse(f"name {text}", call(name=text), SHAPE)
    refuse("no name", message('{"arguments":{}}'), SHAPE)
    refuse("unasked result", b'{"jsonrpc":"2.0","id":1,"result":{}}', frozenset({400, 202}))
    either("unknown key of the envelope", call()[:-1] + b',"x-vendor":1}')
    # One SDK's validation drops the key: the tool would run on other arguments than were decided on.
    refuse("__proto__ in arguments", call('{"__proto__":{"x":1}}'), POLICY)
    either("twins by case in arguments", call('{"a":1,"A":2}'), '{"a":1,"A":2}')
    either("NUL in text", call('{"x":"a\\u0000b"}'), '{"x":"a\\u0000b"}')


def _refused_by_policy() -> None:
    refuse("danger", call(name='"danger"'), POLICY)
    refuse("danger by escape", call(name='"d\\u0061nger"'), POLICY)
    refuse("another owner", call('{"owner":"globex"}'), POLICY)
    refuse("another owner by escape", call('{"owner":"\\u0067lobex"}'), POLICY)
    refuse("owner of another type", call('{"owner":["acme"]}'), POLICY)
    refuse("unknown method", message("{}", method='"vendor/do"'), POLICY)
    refuse("a prompt", message('{"name":"safe"}', method='"prompts/get"'), POLICY)
    refuse("a resource", message('{"uri":"file:///etc/passwd"}', method='"resources/read"'), POLICY)


def _refused_http() -> None:
    body = call()
    kinds = {
        "no content-type": [HOST, ACCEPT, VERSION],
        "text/plain": [HOST, ACCEPT, VERSION, b"content-type: text/plain"],
        "application/jsonx": [HOST, ACCEPT, VERSION, b"content-type: application/jsonx"],
        "two media types": [HOST, ACCEPT, VERSION, b"content-type: application/json, text/plain"],
        "two content-types": [*USUAL, b"content-type: text/plain"],
        "charset=utf-7": [HOST, ACCEPT, VERSION, b"content-type: application/json; charset=utf-7"],
        "content-encoding: gzip on plain JSON": [*USUAL, b"content-encoding: gzip"],
    }
    for name, head in kinds.items():
        refuse(name, b"", MEDIA, http(body, head))
    refuse("gzip", b"", MEDIA, http(gzip.compress(body), [*USUAL, b"content-encoding: gzip"]))
    refuse("deflate", b"", MEDIA, http(zlib.compress(body), [*USUAL, b"content-encoding: deflate"]))
    refuse("two protocol versions", b"", PARSE, http(body, [*USUAL, b"mcp-protocol-version: 2025-03-26"]))
    refuse("two sessions", b"", frozenset({400, 404}), http(body, [*USUAL, b"mcp-session-id: a", b"mcp-session-id: b"]))
    refuse("a session nobody issued", b"", frozenset({404}), http(body, [*USUAL, b"mcp-session-id: stolen"]))

    te = b"transfer-encoding: chunked"
    length = b"content-length: %d" % len(body)
    refuse("length and chunked", b"", FRAMING, http(chunked(body), [*USUAL, te], length=b"content-length: 5"))
    refuse("chunked and length", b"", FRAMING, http(chunked(body), [*USUAL, b"content-length: 5"], length=te))
    refuse("length twice", b"", FRAMING, http(body, [*USUAL, length]))
    refuse("two lengths", b"", FRAMING, http(body, [*USUAL, b"content-length: 5"]))
    refuse("two lengths in one line", b"", FRAMING, http(body, length=length + b", %d" % len(body)))
    refuse("length +n", b"", FRAMING, http(body, length=b"content-length: +%d" % len(body)))
    for coding in (b"xchunked", b"chunked, identity", b"identity", b"chunked, chunked", b"gzip, chunked", b" \x0bchunked"):
        refuse(f"transfer-encoding:{coding.decode()!r}", b"", FRAMING,
               http(chunked(body), [*USUAL, b"transfer-encoding:" + coding], length=b""))
    refuse("space before colon", b"", FRAMING, http(chunked(body), [*USUAL, b"transfer-encoding : chunked"], length=b""))
    refuse("obs-fold", b"", FRAMING, http(body, [*USUAL, b"x-a: 1\r\n x-b: 2"]))
    refuse("bare LF", b"", FRAMING, http(body).replace(b"\r\n", b"\n"))
    refuse("bare LF in one line", b"", FRAMING, http(body, [*USUAL, b"x-a: 1\nmcp-name: danger"]))
    refuse("bare CR", b"", FRAMING, http(body, [*USUAL, b"x-a: 1\rx-b: 2"]))
    refuse("NUL in a header", b"", FRAMING, http(body, [*USUAL, b"x-a: 1\x002"]))
    bad_chunks = chunked(body).replace(b"\r\n", b"\n")
    refuse("bare LF in chunks", b"", FRAMING, http(bad_chunks, [*USUAL, te], length=b""))
    refuse("chunk of negative size", b"", FRAMING, http(b"-1\r\n" + body + b"\r\n0\r\n\r\n", [*USUAL, te], length=b""))
    refuse("no host", b"", FRAMING, http(body, [ACCEPT, JSON, VERSION]))
    refuse("two hosts", b"", FRAMING, http(body, [*USUAL, b"host: other"]))
    refuse("HTTP/1.0 and chunked", b"", FRAMING, http(chunked(body), [*USUAL, te], length=b"").replace(b"HTTP/1.1", b"HTTP/1.0"))
    refuse("HTTP/3.1", b"", FRAMING, http(body).replace(b"HTTP/1.1", b"HTTP/3.1"))
    refuse("absolute form, another authority", b"", FRAMING | PATH, http(body, target=b"http://elsewhere:80/mcp"))
    refuse("headers of 100 KiB", b"", frozenset({400, 431}), http(body, [*USUAL, b"x-a: " + b"a" * 100_000]))
    refuse("300 KiB before any line ends", b"", frozenset({400, 414, 431}), b"POST /" + b"a" * 300_000)
    refuse("nested CONNECT", b"", frozenset({400, 405, 501}), b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n" + HOST + b"\r\n\r\n")
    refuse("websocket", b"", frozenset({400, 403, 405, 426, 501}),
           b"GET /mcp HTTP/1.1\r\n" + HOST + b"\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
           b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
    for target in (b"/x/../mcp", b"/./mcp", b"//mcp", b"/x/%2e%2e/mcp", b"/mcp%2f", b"/mcp%00", b"/%zzmcp", b"mcp"):
        refuse(f"target {target.decode()}", b"", PATH, http(body, target=target))
    refuse("bytes that are no HTTP", b"", frozenset({400}), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64)
    refuse("h2 preface, then rubbish", b"", frozenset(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64)


_accepted()
_accepted_http()
_refused_json()
_refused_envelope()
_refused_by_policy()
_refused_http()
assert len({row.name for row in ROWS}) == len(ROWS), "names of rows repeat"
