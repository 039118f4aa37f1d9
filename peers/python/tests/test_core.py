"""The compiled calls of `Core`: that they are there, that they share a half with the calls that wait, and take what is plain only."""
import collections
import os
import platform
import sys
import threading

import pytest
import smstream
from smstream import _core

PURE = bool(os.environ.get("SMSTREAM_PURE")) or platform.python_implementation() != "CPython"


def test_it_is_compiled():
    assert (_core.Core.__module__ == "smstream._core") == PURE


def test_threads_share_a_half(address):
    """Two threads send records and two receive them, all on one stream: each record comes once, and whole."""
    each = 20_000
    with smstream.listen(address, capacity=4096, records=True) as listener:
        made = []
        t = threading.Thread(target=lambda: made.append(smstream.connect(address, 10, records=True)))
        t.start()
        a = listener.accept(10)
        t.join()
    b = made[0]
    came = [collections.Counter(), collections.Counter()]

    wrong = []

    def send(which):
        try:
            for k in range(each):
                a.send_record((b"%d %d " % (which, k)) * (1 + k % 20))
        except Exception as e:
            wrong.append(e)

    def receive(counter):
        try:
            while (record := b.recv_record()) is not None:
                counter[record] += 1
        except Exception as e:
            wrong.append(e)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        receivers = [threading.Thread(target=receive, args=(c,)) for c in came]
        senders = [threading.Thread(target=send, args=(k,)) for k in range(2)]
        for t in receivers + senders:
            t.start()
        for t in senders:
            t.join()
        a.close()
        for t in receivers:
            t.join()
    finally:
        sys.setswitchinterval(interval)
    b.close()
    wanted = collections.Counter((b"%d %d " % (which, k)) * (1 + k % 20) for which in range(2) for k in range(each))
    assert wrong == [] and came[0] + came[1] == wanted


@pytest.mark.parametrize("size", [0, 1, 1 << 15, (1 << 15) + 1, 100_000])
def test_sizes(pair, size):
    """On both sides of the size from which on bytes are copied without the interpreter lock."""
    a, b = pair
    data = os.urandom(size)
    for thing in (data, bytearray(data), memoryview(data)):
        a.sendall(thing)
        assert b.recv_exactly(size) == data
        a.send_record(thing)
        assert b.next_record() == size and b.recv_record() == data
        a.send_record(thing)
        buffer = bytearray(size)
        assert b.recv_record_into(buffer) == size and buffer == data


def test_arguments_are_those_of_sockets(pair):
    a, b = pair
    assert a.send(b"abc", 0) == 3 and a.send(data=b"def") == 3
    buffer = bytearray(4)
    assert b.recv_into(buffer, nbytes=2) == 2 and buffer[:2] == b"ab"
    assert b.recv(1, 0) == b"c" and b.recv(True) == b"d" and b.recv_exactly(n=2) == b"ef"
    for call in (lambda: a.send("text"), lambda: a.sendall(None), lambda: a.send_record(1), lambda: b.recv(), lambda: b.recv("1")):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError):
        b.recv(-1)
    with pytest.raises((TypeError, ValueError, BufferError)):
        a.send(memoryview(bytes(8))[::2])
    a.close()
    for call in (lambda: a.send(b"x"), lambda: a.recv(1), lambda: a.send_record(b""), lambda: a.recv_record()):
        with pytest.raises(ValueError):
            call()
    assert b.recv(10) == b""
