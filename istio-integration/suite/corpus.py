"""Policies, and requests on which Istio's own waypoint and ours are asked for an answer."""

from __future__ import annotations

from dataclasses import dataclass, field

CALLERS = ("reader", "writer", "stranger")


@dataclass(frozen=True)
class Request:
    """A value of a header with a line end in it is sent as two fields."""

    caller: str
    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """How it is called in the table of differences: tokens by what they are."""
        shown = " ".join(f"{name}: {value!r}" for name, value in self.headers)
        return f"{self.caller} {self.method} {self.path} {shown}".strip()


@dataclass
class Case:
    name: str
    documents: list[str]
    requests: list[Request] = field(default_factory=list)


USUAL = [Request(caller, method, path) for caller in CALLERS for method, path in (("GET", "/"), ("GET", "/admin/x"), ("POST", "/data"))]
CASES: list[Case] = []
# Beside a policy of the whole Gateway.
UNDER_A_GATEWAY: list[Case] = []
GATEWAY = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: all-allow, namespace: "{ns}"}
spec:
  targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: waypoint}]
  action: ALLOW
  rules: [{from: [{source: {principals: ["*/reader"]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: all-deny, namespace: "{ns}"}
spec:
  targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: waypoint}]
  action: DENY
  rules: [{to: [{operation: {paths: ["/admin*"]}}]}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: all, namespace: "{ns}"}
spec:
  targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: waypoint}]
  jwtRules: [{issuer: 'https://idp.example', jwks: '{jwks}'}]
"""


def reader(*rows: str, **headers: str) -> list[Request]:
    """Requests of `reader`: a row is `METHOD PATH`."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return [Request("reader", *row.split(" ", 1), named) for row in rows]


def policy(rules: str, action: str = "ALLOW", more: str = "", name: str = "") -> str:
    """An AuthorizationPolicy of the case's Service."""
    return f"""\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: "{{svc}}{name}-{action.lower()}", namespace: "{{ns}}"{more}}}
spec:
  targetRefs: [{{kind: Service, group: "", name: "{{svc}}"}}]
  action: {action}
  rules: {rules}
"""


def tokens(rules: str) -> str:
    """A RequestAuthentication of the case's Service."""
    return f"""\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: "{{svc}}", namespace: "{{ns}}"}}
spec:
  targetRefs: [{{kind: Service, group: "", name: "{{svc}}"}}]
  jwtRules: {rules}
"""


def case(name: str, *documents: str, requests: list[Request] | None = None, among: list[Case] = CASES) -> None:
    among.append(Case(name, list(documents), [*USUAL, *(requests or [])]))


def sources() -> None:
    rows = {
        "principals": 'principals: ["cluster.local/ns/{ns}/sa/reader"]',
        "principals, prefix": 'principals: ["cluster.local/ns/{ns}/*"]',
        "principals, suffix": 'principals: ["*/reader"]',
        "principals, any": 'principals: ["*"]',
        "principals, with scheme": 'principals: ["spiffe://cluster.local/ns/{ns}/sa/reader"]',
        "principals, several": 'principals: ["cluster.local/ns/{ns}/sa/writer", "*/stranger"]',
        "notPrincipals": 'notPrincipals: ["cluster.local/ns/{ns}/sa/reader"]',
        "principals and notPrincipals": 'principals: ["cluster.local/*"], notPrincipals: ["*/writer"]',
        "namespaces": 'namespaces: ["{ns}"]',
        "namespaces, suffix": 'namespaces: ["*{ns}"]',
        "notNamespaces": 'notNamespaces: ["{ns}"]',
        "serviceAccounts": 'serviceAccounts: ["{ns}/reader"]',
        "serviceAccounts, own namespace": 'serviceAccounts: ["writer"]',
        "notServiceAccounts": 'notServiceAccounts: ["{ns}/reader"]',
        "trust domain of another mesh": 'principals: ["elsewhere/ns/{ns}/sa/reader"]',
        "ipBlocks": 'ipBlocks: ["10.244.0.0/16"]',
        "ipBlocks, other": 'ipBlocks: ["192.0.2.0/24", "2001:db8::/32"]',
        "ipBlocks, all": 'ipBlocks: ["0.0.0.0/0"]',
        "notIpBlocks": 'notIpBlocks: ["10.244.0.0/16"]',
        "principals and namespaces": 'principals: ["*/reader"], namespaces: ["elsewhere"]',
    }
    for name, source in rows.items():
        for action in ("ALLOW", "DENY"):
            case(f"{action} source {name}", policy(f"[{{from: [{{source: {{{source}}}}}]}}]", action))
    two = '[{from: [{source: {principals: ["*/writer"]}}, {source: {principals: ["*/reader"]}}], to: [{operation: {methods: [POST]}}, {operation: {paths: ["/admin/*"]}}]}]'
    for action in ("ALLOW", "DENY"):
        case(f"{action} several from and to", policy(two, action))


def operations() -> None:
    paths = reader(
        "GET /admin", "GET /admin/", "GET /ADMIN/x", "GET /admin?x=/data", "GET /data?a=b", "GET /x/admin/y", "GET /a/b/c", "GET /a/x/c", "GET /a//c",
        "GET /a/b/c/d", "GET /a/", "GET /info.html", "GET /data", "PUT /data", "OPTIONS /", "HEAD /",
    )
    rows = {
        "methods": "methods: [GET, PUT]",
        "methods, prefix": 'methods: ["P*"]',
        "notMethods": "notMethods: [GET]",
        "paths": 'paths: ["/admin", "/data"]',
        "paths, prefix": 'paths: ["/admin*"]',
        "paths, suffix": 'paths: ["*.html"]',
        "paths, any": 'paths: ["*"]',
        "notPaths": 'notPaths: ["/admin*"]',
        "paths and notPaths": 'paths: ["/a*"], notPaths: ["/admin", "/admin/*"]',
        "paths, one segment": 'paths: ["/a/{*}/c"]',
        "paths, segments": 'paths: ["/a/{**}"]',
        "paths, segments then one": 'paths: ["/a/{**}/c"]',
        "paths, segment and literal": 'paths: ["/{*}/x"]',
        "notPaths, one segment": 'notPaths: ["/a/{*}/c"]',
        "ports": 'ports: ["80"]',
        "ports, other": 'ports: ["8080"]',
        "notPorts": 'notPorts: ["80"]',
        "paths and methods": 'paths: ["/data"], methods: [POST]',
        "methods, any": 'methods: ["*"]',
        "notMethods, any": 'notMethods: ["*"]',
        "notPaths, any": 'notPaths: ["*"]',
        "hosts, any": 'hosts: ["*"]',
        "paths, slash": 'paths: ["/"]',
        "paths, root prefix": 'paths: ["/*"]',
        "paths, with a query": 'paths: ["/data?a=b"]',
        "paths, encoded": 'paths: ["/%61dmin/x"]',
    }
    for name, operation in rows.items():
        for action in ("ALLOW", "DENY"):
            case(f"{action} operation {name}", policy(f"[{{to: [{{operation: {{{operation}}}}}]}}]", action), requests=paths)
    hosts = [Request("reader", "GET", "/", (("host", host),)) for host in ("example.com", "EXAMPLE.com", "example.com:80", "a.example.com", "example.com.evil", "other")]
    rows = {
        "hosts": 'hosts: ["example.com"]',
        "hosts, suffix": 'hosts: ["*.example.com"]',
        "hosts, prefix": 'hosts: ["example.*"]',
        "hosts, with port": 'hosts: ["example.com:80"]',
        "hosts, other case": 'hosts: ["Example.COM"]',
        "notHosts": 'notHosts: ["example.com"]',
    }
    case("ALLOW operation methods, other case", policy('[{to: [{operation: {methods: ["get", GET]}}]}]'), requests=reader("get /", "Get /"))
    for name, operation in rows.items():
        for action in ("ALLOW", "DENY"):
            case(f"{action} operation {name}", policy(f"[{{to: [{{operation: {{{operation}}}}}]}}]", action), requests=hosts)


def spelled() -> None:
    """The same place in other spellings."""
    spellings = reader(
        "GET //admin/x", "GET /admin//x", "GET /./admin/x", "GET /y/../admin/x", "GET /%61dmin/x", "GET /admin%2fx", "GET /admin%2Fx", "GET /%2e%2e/admin/x",
        "GET /y/%2e%2e/admin/x", "GET /y/%2E%2E/admin/x", "GET /admin;a=b/x", "GET /admin/x;a", "GET /admin%5cx", "GET /admin\\x", "GET /admin/x#y", "GET /admin/%00",
        "GET /admin%00/x", "GET /admin/x%20", "GET /%2561dmin/x", "GET /..;/admin/x", "GET /../admin/x", "GET /data/..", "GET /public/../data",
    )
    for action in ("ALLOW", "DENY"):
        case(f"{action} paths in other spellings", policy('[{to: [{operation: {paths: ["/admin/*", "/data"]}}]}]', action), requests=spellings)
        case(f"{action} notPaths in other spellings", policy('[{to: [{operation: {notPaths: ["/admin/*", "/data"]}}]}]', action), requests=spellings)


def conditions() -> None:
    def with_header(*values: str) -> list[Request]:
        return [Request("reader", "GET", "/", (("x-team", value),)) for value in values]

    asked = with_header("red", "RED", "redder", "blue", "", "red,blue", "red, blue", "red\nblue", "blue\nred", " red ")
    rows = {
        "header": ("request.headers[x-team]", 'values: ["red"]'),
        "header, prefix": ("request.headers[x-team]", 'values: ["red*"]'),
        "header, suffix": ("request.headers[x-team]", 'values: ["*ed"]'),
        "header, present": ("request.headers[x-team]", 'values: ["*"]'),
        "header, not": ("request.headers[x-team]", 'notValues: ["red"]'),
        "header, other case": ("request.headers[X-Team]", 'values: ["red"]'),
        "header, values and notValues": ("request.headers[x-team]", 'values: ["red*"], notValues: ["redder"]'),
        "header, absent": ("request.headers[x-other]", 'values: ["red"]'),
        "header, absent and not": ("request.headers[x-other]", 'notValues: ["red"]'),
        "header, absent and not any": ("request.headers[x-other]", 'notValues: ["*"]'),
        "header, not any": ("request.headers[x-team]", 'notValues: ["*"]'),
        "header, not prefix": ("request.headers[x-team]", 'notValues: ["red*"]'),
        "header host": ("request.headers[host]", 'values: ["c*"]'),
        "header :authority": ("request.headers[:authority]", 'values: ["c*"]'),
        "header :method": ("request.headers[:method]", 'values: ["GET"]'),
        "header :path": ("request.headers[:path]", 'values: ["/"]'),
        "source.namespace, not": ("source.namespace", 'notValues: ["{ns}"]'),
        "source.ip, not": ("source.ip", 'notValues: ["10.244.0.0/16"]'),
        "remote.ip": ("remote.ip", 'values: ["10.244.0.0/16"]'),
        "connection.sni": ("connection.sni", 'values: ["www.example.com"]'),
        "connection.sni, not": ("connection.sni", 'notValues: ["www.example.com"]'),
        "source.namespace": ("source.namespace", 'values: ["{ns}"]'),
        "source.principal": ("source.principal", 'values: ["cluster.local/ns/{ns}/sa/reader"]'),
        "source.principal, not": ("source.principal", 'notValues: ["*/reader"]'),
        "source.serviceAccount": ("source.serviceAccount", 'values: ["{ns}/reader"]'),
        "source.ip": ("source.ip", 'values: ["10.244.0.0/16"]'),
        "destination.port": ("destination.port", 'values: ["80"]'),
        "destination.port, not": ("destination.port", 'notValues: ["80"]'),
    }
    for name, (key, values) in rows.items():
        for action in ("ALLOW", "DENY"):
            case(f"{action} when {name}", policy(f'[{{when: [{{key: "{key}", {values}}}]}}]', action), requests=asked)
    forwarded = [Request("reader", "GET", "/", (("x-forwarded-for", value),)) for value in ("192.0.2.7", "192.0.2.7, 10.244.0.9", "10.244.0.9, 192.0.2.7", "10.1.1.1")]
    for field in ("remoteIpBlocks", "notRemoteIpBlocks"):
        for action in ("ALLOW", "DENY"):
            case(f"{action} source {field}", policy(f'[{{from: [{{source: {{{field}: ["192.0.2.0/24"]}}}}]}}]', action), requests=forwarded)
    both = '[{when: [{key: "request.headers[x-team]", values: ["red"]}, {key: source.principal, values: ["*/reader"]}]}]'
    case("ALLOW two conditions", policy(both), requests=asked)


def together() -> None:
    everybody, nobody = "[{}]", "[]"
    case("ALLOW nobody", policy(nobody))
    case("ALLOW everybody", policy(everybody))
    case("DENY nobody", policy(nobody, "DENY"))
    case("DENY everybody", policy(everybody, "DENY"))
    case("DENY before ALLOW", policy(everybody), policy('[{to: [{operation: {paths: ["/admin*"]}}]}]', "DENY"))
    case("two ALLOW", policy('[{to: [{operation: {methods: [POST]}}]}]'), policy('[{from: [{source: {principals: ["*/writer"]}}]}]', name="-2"))
    case("ALLOW nobody beside ALLOW", policy(nobody), policy('[{from: [{source: {principals: ["*/writer"]}}]}]', name="-2"))
    case("AUDIT alone", policy(everybody, "AUDIT"))
    case("AUDIT beside ALLOW", policy('[{from: [{source: {principals: ["*/writer"]}}]}]'), policy(everybody, "AUDIT"))
    dry = ', annotations: {"istio.io/dry-run": "true"}'
    case("DENY dry-run", policy(everybody, "DENY", dry))
    case("ALLOW dry-run", policy(nobody, "ALLOW", dry))
    custom = policy('[{to: [{operation: {paths: ["/admin*"]}}]}]', "CUSTOM").replace("  action: CUSTOM", "  provider: {name: nobody}\n  action: CUSTOM")
    case("CUSTOM of a provider that nobody declares", custom)


def bearer(*names: str) -> list[Request]:
    """Requests with tokens of these names, which the run makes."""
    return [Request("reader", "GET", "/", (("authorization", f"Bearer {{{name}}}"),)) for name in names]


TOKENS = ("good", "expired", "wrong", "elsewhere", "aud", "auds", "groups", "nested", "scope", "bob", "presented", "no-sub", "early", "number", "truth", "teams", "dotted")


def with_tokens() -> None:
    rule = "{issuer: 'https://idp.example', jwks: '{jwks}'"
    all_tokens = [*bearer(*TOKENS, "rubbish"), Request("reader", "GET", "/", (("authorization", "Basic eDp5"),))]
    for caller in ("writer", "stranger"):
        all_tokens.append(Request(caller, "GET", "/", (("authorization", "Bearer {good}"),)))
    all_tokens += reader("GET /?access_token={good}", "GET /?access_token={wrong}")
    all_tokens.append(Request("reader", "GET", "/", (("x-jwt", "{good}"),)))
    all_tokens.append(Request("reader", "GET", "/", (("authorization", "Bearer {good}\nBearer {wrong}"),)))
    all_tokens.append(Request("reader", "GET", "/", (("authorization", "bearer {good}"),)))
    plain = tokens(f"[{rule}}}]")
    case("tokens alone", plain, requests=all_tokens)
    case("tokens with audiences", tokens(f"[{rule}, audiences: [tools, more]}}]"), requests=all_tokens)
    case("tokens from a header", tokens(f"[{rule}, fromHeaders: [{{name: x-jwt}}]}}]"), requests=all_tokens)
    case("tokens from a parameter", tokens(f"[{rule}, fromParams: [tok]}}]"), requests=[*all_tokens, *reader("GET /?tok={good}", "GET /?tok={wrong}")])
    case("tokens of two issuers", tokens(f"[{rule}}}, {{issuer: 'https://other.example', jwks: '{{other_jwks}}'}}]"), requests=all_tokens)
    case("tokens from a cookie", tokens(f"[{rule}, fromCookies: [sid]}}]"),
         requests=[*all_tokens, *[Request("reader", "GET", "/", (("cookie", f"a=b; sid={{{name}}}"),)) for name in ("good", "wrong")]])
    outputs = tokens(f"[{rule}, outputClaimToHeaders: [{{header: x-scope, claim: scope}}]}}]")
    by_output = policy('[{when: [{key: "request.headers[x-scope]", values: ["read*"]}]}]')
    case("ALLOW by a header that a claim fills", outputs, by_output, requests=[*all_tokens, *reader("GET /", x_scope="read")])
    rows = {
        "requestPrincipals": 'requestPrincipals: ["https://idp.example/alice"]',
        "requestPrincipals, any": 'requestPrincipals: ["*"]',
        "requestPrincipals, prefix": 'requestPrincipals: ["https://idp.example/*"]',
        "requestPrincipals, suffix": 'requestPrincipals: ["*/bob"]',
        "notRequestPrincipals": 'notRequestPrincipals: ["https://idp.example/alice"]',
        "notRequestPrincipals, any": 'notRequestPrincipals: ["*"]',
        "requestPrincipals and principals": 'requestPrincipals: ["*"], principals: ["*/reader"]',
    }
    for name, source in rows.items():
        for action in ("ALLOW", "DENY"):
            case(f"{action} source {name}", plain, policy(f"[{{from: [{{source: {{{source}}}}}]}}]", action), requests=all_tokens)
    rows = {
        "iss": ("request.auth.claims[iss]", 'values: ["https://idp.example"]'),
        "iss, not": ("request.auth.claims[iss]", 'notValues: ["https://idp.example"]'),
        "a list": ("request.auth.claims[groups]", 'values: ["admins"]'),
        "a list, prefix": ("request.auth.claims[groups]", 'values: ["adm*"]'),
        "a list, not": ("request.auth.claims[groups]", 'notValues: ["admins"]'),
        "nested": ("request.auth.claims[org][team]", 'values: ["red"]'),
        "a number": ("request.auth.claims[level]", 'values: ["7"]'),
        "a truth value": ("request.auth.claims[admin]", 'values: ["true"]'),
        "nested list": ("request.auth.claims[org][teams]", 'values: ["red"]'),
        "nested, not": ("request.auth.claims[org][team]", 'notValues: ["red"]'),
        "with a dot in its name": ("request.auth.claims[a.b]", 'values: ["c"]'),
        "absent and not": ("request.auth.claims[nowhere]", 'notValues: ["x"]'),
        "request.auth.principal, not": ("request.auth.principal", 'notValues: ["https://idp.example/bob"]'),
        "request.auth.audiences, not": ("request.auth.audiences", 'notValues: ["tools"]'),
        "space separated": ("request.auth.claims[scope]", 'values: ["write"]'),
        "there at all": ("request.auth.claims[groups]", 'values: ["*"]'),
        "request.auth.principal": ("request.auth.principal", 'values: ["https://idp.example/bob"]'),
        "request.auth.audiences": ("request.auth.audiences", 'values: ["tools"]'),
        "request.auth.presenter": ("request.auth.presenter", 'values: ["app"]'),
    }
    for name, (key, values) in rows.items():
        for action in ("ALLOW", "DENY"):
            case(f"{action} claim {name}", plain, policy(f'[{{when: [{{key: "{key}", {values}}}]}}]', action), requests=all_tokens)


def under_a_gateway() -> None:
    requests = [*bearer("good", "wrong", "bob"), *reader("GET /data", "POST /")]
    rows = {
        "nothing of its own": [],
        "ALLOW writer": [policy('[{from: [{source: {principals: ["*/writer"]}}]}]')],
        "DENY POST": [policy("[{to: [{operation: {methods: [POST]}}]}]", "DENY")],
        "ALLOW nobody": [policy("[]")],
        "ALLOW bob": [policy('[{from: [{source: {requestPrincipals: ["*/bob"]}}]}]')],
        "tokens of another issuer": [tokens("[{issuer: 'https://other.example', jwks: '{other_jwks}'}]")],
    }
    for name, documents in rows.items():
        case(f"under a Gateway: {name}", *documents, requests=[*requests, *bearer("elsewhere")], among=UNDER_A_GATEWAY)


for part in (sources, operations, spelled, conditions, together, with_tokens, under_a_gateway):
    part()
assert len({one.name for one in CASES}) == len(CASES), "names of cases repeat"
