#!/usr/bin/env python3
"""The Python party of tests/interop/peers, which says what each mode does.

usage: party.py listen|connect ADDRESS MODE [N]
"""
import socket
import sys
import threading
import time

import smstream

SIZE = 65521


def pattern(party):
    x, out = party + 1, bytearray()
    for _ in range(SIZE):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(x >> 24)
    return bytes(out)


def fail(what, why):
    print(f"failed {what}: {why}", flush=True)
    sys.exit(1)


def need(good, what):
    if not good:
        fail(what, "not as expected")


def send_pattern(s, party, n, pauses):
    data, at, rest, k = pattern(party), 0, 300_000, 0
    while at < n:
        begin = at % SIZE
        piece = min(1 + k * 7919 % 50_000, SIZE - begin, n - at)
        k += 1
        s.sendall(memoryview(data)[begin : begin + piece])
        at += piece
        if pauses and at > rest:
            time.sleep(0.003)
            rest += 300_000


def receive_pattern(s, party, n, pauses):
    data, at, rest = pattern(party) * 3, 0, 500_000
    buffer = bytearray(60_000)
    while True:
        r = s.recv_into(buffer)
        if r == 0:
            break
        begin = at % SIZE
        if memoryview(buffer)[:r] != memoryview(data)[begin : begin + r]:
            fail("read", "another byte came")
        at += r
        if pauses and at > rest:
            time.sleep(0.003)
            rest += 500_000
    need(at == n, f"{n} bytes, {at} came")


def send_and_finish(s, party, n):
    send_pattern(s, party, n, True)
    s.shutdown(socket.SHUT_WR)


RECORDS = 200


def record(data, k, n):
    """Record k: from none to many bytes, each 16th of n of them, from somewhere in the pattern on."""
    size = n if k % 16 == 15 else k * 7919 % 5000
    begin = k * 31 % SIZE
    return data[begin : begin + size]


def send_records(s, party, n):
    data = pattern(party) * 6
    for k in range(RECORDS):
        s.send_record(record(data, k, n))
        if k % 20 == 19:
            time.sleep(0.003)
    s.shutdown(socket.SHUT_WR)


def records(s, party, n):
    need(s.peer_has_records, "a peer that says that it has records")
    t = threading.Thread(target=send_records, args=(s, party, n))
    t.start()
    data, buffer = pattern(1 - party) * 6, bytearray(300_000)
    for k in range(RECORDS):
        right = record(data, k, n)
        if k % 2:
            came = s.recv_record()
        else:
            r = s.recv_record_into(buffer)
            came = None if r is None else bytes(buffer[:r])
        need(came == right, f"record {k}")
        if k % 33 == 32:
            time.sleep(0.003)
    need(s.recv_record() is None, "the end of the records")
    t.join()


def find_the_lie(s):
    need(s.recv_record() == b"abc", "a good record")
    for call in (s.recv_record, lambda: s.send_record(b"x")):
        try:
            call()
            fail("a record that is a lie", "not found")
        except smstream.Corrupt:
            pass


def echo(s):
    buffer = bytearray(60_000)
    while True:
        n = s.recv_into(buffer)
        if n == 0:
            return
        s.sendall(memoryview(buffer)[:n])


def echo_records(s):
    while (record := s.recv_record()) is not None:
        s.send_record(record)


def serve(s, how):
    with s:
        try:
            how(s)
        except smstream.Error:
            pass


def until_dead(s, reading):
    try:
        if reading:
            need(s.recv(1), "the first byte")
            print("ready", flush=True)
            s.recv(1)
        else:
            s.setblocking(False)
            try:
                while True:
                    s.send(bytes(4096))
            except smstream.WouldBlock:
                pass
            s.setblocking(True)
            print("ready", flush=True)
            s.send(bytes(4096))
        fail("wait for the peer's death", "something came")
    except smstream.PeerGone:
        pass


def measure(s, connector, mode, n):
    data = bytearray(1 << 16)
    began = time.monotonic()
    if mode == "ping" and connector:
        ping = bytes(64)
        for _ in range(n):
            s.sendall(ping)
            need(len(s.recv_exactly(64)) == 64, "a pong")
        print(f"{(time.monotonic() - began) * 1e9 / n:.0f} ns")
    elif mode == "ping":
        echo(s)
    elif mode == "small" and connector:
        message = bytes(1024)
        for _ in range(n):
            s.send_record(message)
    elif mode == "small":
        got = 0
        while s.recv_record() is not None:
            got += 1
        print(f"{got / (time.monotonic() - began):.0f} messages/s")
    elif connector:
        for _ in range(n // len(data)):
            s.sendall(data)
    else:
        got = 0
        while r := s.recv_into(data):
            got += r
        print(f"{got / 1e6 / (time.monotonic() - began):.0f} MB/s")


def play(s, connector, mode, n):
    party = int(connector)
    if mode == "sum":
        t = threading.Thread(target=send_and_finish, args=(s, party, n))
        t.start()
        receive_pattern(s, 1 - party, n, True)
        t.join()
    elif mode == "half":
        if connector:
            receive_pattern(s, 0, 1000, False)
        send_pattern(s, party, 2000 if connector else 1000, False)
        s.shutdown(socket.SHUT_WR)
        if not connector:
            receive_pattern(s, 1, 2000, False)
    elif mode == "stop" and connector:
        s.sendall(b"0123456789")
        try:
            while True:
                time.sleep(0.002)
                s.sendall(b"x")
        except smstream.Closed:
            pass
    elif mode == "stop":
        need(s.recv_exactly(10) == b"0123456789", "ten bytes")
        s.shutdown(socket.SHUT_RD)
        time.sleep(0.1)
    elif mode in ("wait", "full"):
        until_dead(s, mode == "wait")
    elif mode == "victim":
        s.sendall(b"x")
        print("ready", flush=True)
        while True:
            time.sleep(100)
    elif mode == "records":
        records(s, party, n)
    elif mode == "corrupt-record":
        find_the_lie(s)
    elif mode == "corrupt":
        s.sendall(b"x")
        s.settimeout(5)
        try:
            while s.recv(4096):
                pass
        except (smstream.Corrupt, smstream.PeerGone):
            pass  # The first word that it saw may have been one that is possible.
    elif mode in ("ping", "bulk", "small"):
        measure(s, connector, mode, n)
    elif mode == "echo":
        echo(s)
    elif mode == "echo-records":
        echo_records(s)
    else:
        fail(mode, "no such mode")
    s.close()


def main():
    role, address, mode = sys.argv[1:4]
    n = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    rounds, mode = (2, "half") if mode == "again" else (1, mode)
    if role == "connect":
        for _ in range(rounds):
            try:
                s = smstream.connect(address, 10, records="record" in mode)
            except smstream.Error as e:
                print(f"failed {e.name}\n{e}")
                sys.exit(1)
            play(s, True, mode, n)
    else:
        listener = smstream.listen(address, records="record" in mode)
        print("listening", flush=True)
        while mode.startswith("echo"):
            threading.Thread(target=serve, args=(listener.accept(), echo if mode == "echo" else echo_records), daemon=True).start()
        for i in range(rounds):
            s = listener.accept(60)
            if i == rounds - 1:
                listener.close()
            play(s, False, mode, n)
    print("ok", flush=True)


if __name__ == "__main__":
    main()
