"""The conformance kit: every vector, and every case through the public interface."""
import mmap
import struct
from pathlib import Path

import pytest
import smstream
from smstream._smstream import ffi, lib

KIT = Path(__file__).resolve().parents[3] / "tests" / "conformance"


def rows(name):
    for line in (KIT / name).read_text().splitlines():
        if not line.startswith("#"):
            yield line.split(";")


def h(text):
    return int(text, 16)


CHECKS = {
    "diff": lambda f: lib.sms_diff(h(f[0]), h(f[1])) == h(f[2]),
    "crossed": lambda f: lib.sms_crossed(h(f[0]), h(f[1]), h(f[2]), f[3] == "1", int(f[4])) == (f[5] == "1"),
    "ahead": lambda f: lib.sms_ahead(h(f[0]), h(f[1]), int(f[2])) == (f[3] == "1"),
    "threshold": lambda f: lib.sms_asleep_at(h(f[1]), (int(f[2]) - (int(f[3]) if f[0] == "w" else 0)) & 0xFFFFFFFF) == h(f[4]),
    "accept_sent": lambda f: lib.sms_accept_sent(h(f[0]), h(f[1]), h(f[2]), int(f[3])) == (f[4] == "1"),
    "accept_received": lambda f: lib.sms_accept_received(h(f[0]), h(f[1]), h(f[2])) == (f[4] == "1"),
}


@pytest.mark.parametrize("name", CHECKS)
def test_vectors(name):
    all_rows = list(rows(f"vectors/{name}.csv"))
    assert len(all_rows) > 10
    assert [row for row in all_rows if not CHECKS[name](row)] == []


def load(image, patch):
    """Both segments, as memoryviews of mappings."""
    tokens = [token.partition("=")[::2] for token in patch.split()]
    limits = {int(k[3:]): int(v) for k, v in tokens if k.startswith("len")}
    shifts = {int(k[5:]): int(v) for k, v in tokens if k.startswith("shift")}
    segments = []
    for line in (KIT / "images" / f"{image}.img").read_text().splitlines():
        words = line.split()
        if words[0] == "segment":
            n = int(words[1])
            length, shift = limits.get(n, int(words[2])), shifts.get(n, 0)
            segments.append(memoryview(mmap.mmap(-1, length + shift))[shift:])
        else:
            at, data = h(words[0]), bytes.fromhex(words[1])
            part = data[: max(0, len(segments[-1]) - at)]
            segments[-1][at : at + len(part)] = part
    for where, value in tokens:
        if ":" in where:
            n, _, at = where.partition(":")
            struct.pack_into("=I", segments[int(n)], h(at), h(value))
    return segments


def step(s, what, left, right, mine, peer):
    try:
        if what == "r":
            return s.recv(int(left)).hex()
        if what == "w":
            return str(s.send(bytes.fromhex(left)))
        if what == "R":
            buffer = bytearray(int(left))
            n = s.recv_record_into(buffer)
            return "End" if n is None else bytes(buffer[:n]).hex()
        if what == "W":
            s.send_record(bytes.fromhex(left))
            return str(len(left) // 2)
    except smstream.Error as e:
        return e.name
    if what == "f":
        s.shutdown(1 if left == "w" else 0)
    elif what == "p":
        struct.pack_into("=I", peer, h(left), h(right))
    elif what == "m":
        return f"{struct.unpack_from('=I', mine, h(left))[0]:08x}"
    return right


@pytest.mark.parametrize("case", list(rows("cases.csv")), ids=lambda case: case[0])
def test_cases(case):
    _, _, image, patch, party, verdict, steps = case
    segments = load(image, patch)
    mine, peer = segments[int(party)], segments[1 - int(party)]
    try:
        s = smstream.Stream.attach(mine, peer)
    except smstream.LayoutError as e:
        assert e.name == verdict
        return
    assert verdict == "ok"
    s.setblocking(False)
    for token in steps.split():
        left, _, right = token[2:].partition("=")
        assert step(s, token[0], left, right, mine, peer) == right, token
    s.abort()


def test_every_code_has_a_name():
    names = {ffi.string(lib.sms_error_name(code)).decode() for code in range(-43, 0)}
    assert "Unknown" in names and len(names) > 37
