"""`proto/` against the descriptors in Istio's own Go packages: what we left out is fine, what we have must be the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from harness.lab import Lab
from harness.tests import test

SCALARS = {"double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "bool", "string", "bytes"}
ROOTS = {
    "istio.v1.auth": ("IstioCertificateRequest", "IstioCertificateResponse"),
    "envoy.service.discovery.v3": ("DeltaDiscoveryRequest", "DeltaDiscoveryResponse"),
    "istio.workload": ("Address",),
    "istio.security": ("Authorization",),
}
# Structures of protobuf itself come from its own library.
KNOWN = "google.protobuf."


class Parsed:
    """The messages and enums of one .proto file, by full name."""

    def __init__(self, text: str) -> None:
        text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)
        self.tokens = re.findall(r'"[^"]*"|[\w.]+|[^\s\w]', text)
        self.at = 0
        self.package = ""
        self.messages: dict[str, dict[str, dict[str, Any]]] = {}
        while self.at < len(self.tokens):
            self._top()

    def _take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def _skip(self, *ends: str) -> None:
        depth = 0
        while True:
            token = self._take()
            depth += (token == "{") - (token == "}")
            if depth == 0 and token in ends:
                return

    def _top(self) -> None:
        word = self._take()
        if word == "package":
            self.package = self._take()
            self._skip(";")
        elif word == "message":
            self._message(self._full(self._take()))
        elif word == "enum":
            self._enum(self._full(self._take()))
        elif word == "service":
            self._skip("}")
        elif word != ";":
            self._skip(";")

    def _full(self, name: str) -> str:
        return f"{self.package}.{name}" if self.package else name

    def _enum(self, name: str) -> None:
        values: dict[str, dict[str, Any]] = {}
        assert self._take() == "{"
        while (word := self._take()) != "}":
            if word in ("option", "reserved"):
                self._skip(";")
                continue
            assert self._take() == "="
            number = self._take()
            values[word] = {"number": int(self._take()) * -1 if number == "-" else int(number)}
            self._skip(";")
        self.messages[name] = values

    def _message(self, name: str) -> None:
        fields = self.messages.setdefault(name, {})
        assert self._take() == "{"
        depth = 1
        while depth:
            word = self._take()
            if word == "}":
                depth -= 1
            elif word == "message":
                self._message(f"{name}.{self._take()}")
            elif word == "enum":
                self._enum(f"{name}.{self._take()}")
            elif word == "oneof":
                self._take()
                assert self._take() == "{"
                depth += 1
            elif word in ("option", "reserved"):
                self._skip(";")
            elif word != ";":
                self._field(fields, word)

    def _field(self, fields: dict[str, dict[str, Any]], word: str) -> None:
        repeated = word == "repeated"
        if word in ("repeated", "optional"):
            word = self._take()
        if word == "map":
            inside = [self._take() for _ in range(5)]
            word, repeated = f"map<{inside[1]},{inside[3]}>", True
        name = self._take()
        assert self._take() == "=", (word, name)
        fields[name] = {"number": int(self._take()), "type": word, "repeated": repeated}
        self._skip(";")


def resolve(name: str, within: str, known: dict[str, Any]) -> str | None:
    """A type's full name, looked for from the innermost scope outwards."""
    scope = within
    while True:
        full = f"{scope}.{name}" if scope else name
        if full in known:
            return full
        if not scope:
            return None
        scope = scope.rpartition(".")[0]


def compare(ours: str, theirs: str, mine: dict[str, Any], istio: dict[str, Any], done: set[tuple[str, str]], wrong: list[str]) -> None:
    if (ours, theirs) in done:
        return
    done.add((ours, theirs))
    for name, field in mine[ours].items():
        other = istio[theirs].get(name)
        if other is None:
            wrong.append(f"{ours}.{name}: Istio's {theirs} has no such name")
            continue
        if field["number"] != other["number"]:
            wrong.append(f"{ours}.{name} = {field['number']}: Istio's is {other['number']}")
        if "type" not in field:
            continue
        if field["repeated"] != other.get("repeated", False):
            wrong.append(f"{ours}.{name}: one repeats, the other does not")
        kind = field["type"]
        if kind in SCALARS:
            if kind != other["kind"]:
                wrong.append(f"{ours}.{name}: {kind}, Istio's is {other['kind']}")
        elif kind.startswith("map<"):
            key, value = kind[4:-1].split(",")
            entry = istio[other["type"]]
            if key != entry["key"]["kind"] or (value in SCALARS and value != entry["value"]["kind"]):
                wrong.append(f"{ours}.{name}: {kind}, Istio's is of {entry['key']['kind']} to {entry['value']['kind']}")
            inner = resolve(value, ours, mine)
            if inner is not None:
                compare(inner, entry["value"]["type"], mine, istio, done, wrong)
        elif not kind.startswith(KNOWN):
            inner = resolve(kind, ours, mine)
            if inner is None or other.get("kind") not in ("message", "enum"):
                wrong.append(f"{ours}.{name}: {kind}, Istio's is {other.get('kind')} {other.get('type')}")
            else:
                compare(inner, other["type"], mine, istio, done, wrong)
        elif kind != other.get("type"):
            wrong.append(f"{ours}.{name}: {kind}, Istio's is {other.get('type')}")


def differences(files: list[Path], istio: dict[str, Any]) -> tuple[int, list[str]]:
    mine: dict[str, Any] = {}
    for file in files:
        mine.update(Parsed(file.read_text()).messages)
    done: set[tuple[str, str]] = set()
    wrong: list[str] = []
    for package, names in ROOTS.items():
        for name in names:
            full = f"{package}.{name}"
            if full in mine:
                compare(full, full, mine, istio, done, wrong)
    return len(done), wrong


@test
def field_numbers_are_istios(lab: Lab) -> None:
    """Names, numbers and types in `proto/` are those of the pinned Istio; a number changed is noticed."""
    istio = json.loads(lab.cluster.kit("fields"))
    files = sorted((lab.root / "proto").glob("*.proto"))
    compared, wrong = differences(files, istio)
    assert not wrong, "\n".join(wrong)
    assert compared >= 6, f"only {compared} messages were compared"
    # So that the comparison can fail.
    changed = lab.folder / "changed.proto"
    changed.write_text((lab.root / "proto" / "ca.proto").read_text().replace("validity_duration = 3", "validity_duration = 4"))
    assert differences([changed], istio)[1] == ["istio.v1.auth.IstioCertificateRequest.validity_duration = 4: Istio's is 3"]
