import gc
import os
import select
import signal
import socket
import threading
import time

import pytest
import smstream


def test_bytes_both_ways(pair):
    a, b = pair
    a.sendall(b"to b")
    b.sendall(b"to a")
    assert b.recv_exactly(4) == b"to b" and a.recv(100) == b"to a"
    assert a.recv(0) == b""


def test_half_close(pair):
    a, b = pair
    a.sendall(b"last")
    a.shutdown(socket.SHUT_WR)
    assert b.recv_exactly(4) == b"last" and b.recv(1) == b"" and b.recv(1) == b""
    b.sendall(b"answer")
    assert a.recv_exactly(6) == b"answer"
    with pytest.raises(smstream.Closed) as e:
        a.sendall(b"x")
    assert isinstance(e.value, BrokenPipeError) and e.value.name == "Closed"
    a.shutdown(socket.SHUT_RD)
    with pytest.raises(BrokenPipeError):
        b.sendall(b"x")


def test_timeouts(pair):
    a, b = pair
    a.settimeout(0.05)
    began = time.monotonic()
    with pytest.raises(TimeoutError) as e:
        a.recv(1)
    assert 0.04 < time.monotonic() - began < 1
    assert isinstance(e.value, smstream.TimedOut) and isinstance(e.value, OSError)
    with pytest.raises(TimeoutError):
        a.sendall(bytes(1 << 20))
    a.setblocking(False)
    assert not a.getblocking() and a.gettimeout() == 0
    with pytest.raises(BlockingIOError):
        a.recv(1)
    with pytest.raises(BlockingIOError):
        while True:
            a.send(bytes(4096))
    with pytest.raises(ValueError):
        a.settimeout(-1)
    assert b.recv(1) == b"\0"


def test_recv_into(pair):
    a, b = pair
    a.sendall(b"0123456789")
    buffer = bytearray(b"..........")
    assert b.recv_into(buffer, 4) == 4 and buffer == b"0123......"
    assert b.recv_into(memoryview(buffer)[4:]) == 6 and buffer == b"0123456789"
    with pytest.raises(ValueError):
        b.recv_into(buffer, 11)
    with pytest.raises((TypeError, ValueError, BufferError)):
        b.recv_into(b"read-only")
    with pytest.raises(ValueError):
        b.recv(1, socket.MSG_PEEK)


def test_recv_exactly_at_the_end(pair):
    a, b = pair
    a.sendall(b"abc")
    a.close()
    with pytest.raises(EOFError) as e:
        b.recv_exactly(4)
    assert e.value.args == (b"abc",)


def test_makefile(pair):
    a, b = pair
    with a.makefile("rw", encoding="utf-8") as fa, b.makefile("rwb") as fb:
        fb.write("eine Zeile: äöü\nund noch eine\n".encode())
        fb.flush()
        assert fa.readline() == "eine Zeile: äöü\n" and fa.readline() == "und noch eine\n"
        print("back", file=fa)
        assert fb.readline() == b"back\n"
    a.sendall(b"the stream is still open")
    assert b.recv(3) == b"the"
    with pytest.raises(ValueError):
        a.makefile("x")


def test_views_without_a_copy(pair):
    a, b = pair
    room = a.reserve()
    room[:5] = b"hello"
    a.commit(5)
    view = b.peek()
    assert view == b"hello" and view.readonly
    b.consume(2)
    assert b.recv(10) == b"llo"
    # A view outlives the stream, and is not a crash.
    a.sendall(b"later")
    last = b.peek()
    b.close()
    gc.collect()
    assert bytes(last) == b"later"
    with pytest.raises(smstream.Error):
        a.commit(1 << 25)


def test_views_are_for_trusted_streams(address):
    with smstream.listen(address) as listener:
        t = threading.Thread(target=lambda: smstream.connect(address, 10).close())
        t.start()
        with listener.accept(10) as s, pytest.raises(ValueError):
            s.peek()
        t.join()


def test_close_ends_a_wait_of_another_thread(pair):
    a, _ = pair
    came = []

    def wait():
        try:
            a.recv(1)
        except OSError as e:
            came.append(e)

    t = threading.Thread(target=wait)
    t.start()
    while not a._reading.locked():
        time.sleep(0.001)
    a.close()
    t.join(5)
    assert not t.is_alive() and isinstance(came[0], smstream.Cancelled)
    assert a.closed and a.fileno() == -1
    with pytest.raises(ValueError):
        a.recv(1)


def test_abort_is_a_death(pair):
    a, b = pair
    a.abort()
    b.settimeout(5)
    with pytest.raises(ConnectionResetError) as e:
        b.recv(1)
    assert isinstance(e.value, smstream.PeerGone)


def test_signals_interrupt(pair):
    a, _ = pair

    class Alarm(Exception):
        pass

    def handler(*_):
        raise Alarm

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Alarm):
            a.recv(1)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_select(tmp_path):
    address = f"unix:{tmp_path}/x"
    with smstream.listen(address) as listener:
        assert select.select([listener], [], [], 0) == ([], [], [])
        t = threading.Thread(target=lambda: made.append(smstream.connect(address, 10)))
        made = []
        t.start()
        assert select.select([listener], [], [], 10)[0] == [listener]
        a = listener.accept(5)
        t.join()
        b = made[0]
        assert a.arm(read=True) == (False, False)
        b.sendall(b"x")
        assert select.select([a], [], [], 10)[0] == [a]
        assert a.recv(1) == b"x"
        assert a.arm(write=True) == (False, True)
        assert a.peer_credentials()[1] == os.geteuid()
        b.close()
        a.close()


def test_names(address):
    with pytest.raises(smstream.NoListener) as e:
        smstream.connect(address, 0.1)
    assert isinstance(e.value, FileNotFoundError) and e.value.name == "NoListener"
    with smstream.listen(address) as listener:
        with pytest.raises(smstream.AddressInUse):
            smstream.listen(address)
        with pytest.raises(BlockingIOError):
            listener.accept(0)
        with pytest.raises(TimeoutError):
            listener.accept(0.02)
        assert "smstream.Listener" in repr(listener) and listener.address == address
    for bad in ("", "nothing", "file:", "unix:", "fd:x", "shm:x"):
        with pytest.raises(smstream.Error) as e:
            smstream.connect(bad, 0.1)
        assert e.value.name == "Address"
    with pytest.raises(smstream.LayoutError) as e:
        smstream.listen(address, capacity=3)
    assert e.value.name == "Capacity"


def test_one_way(address):
    with smstream.listen(address, capacity=(4096, 0)) as listener:
        got = []
        t = threading.Thread(target=lambda: got.append(smstream.connect(address, 10).makefile("rb").read()))
        t.start()
        with listener.accept(10) as s:
            assert s.recv(1) == b""
            s.sendall(b"one way" * 1000)
        t.join()
    assert got == [b"one way" * 1000]


def test_death_of_a_process(address, party):
    with smstream.listen(address) as listener:
        victim = party("connect", address, "victim")
        s = listener.accept(10)
        assert s.recv(1) == b"x" and victim.line() == "ready"
        victim.kill()
        with pytest.raises(smstream.PeerGone):
            s.recv(1)
        s.close()


@pytest.mark.parametrize("mode", ["sum", "half", "stop", "again"])
def test_two_processes(address, party, mode):
    listener = party("listen", address, mode, 3_000_000)
    assert listener.line() == "listening"
    connector = party("connect", address, mode, 3_000_000)
    assert connector.end() == (0, ["ok"]) and listener.end() == (0, ["ok"])
