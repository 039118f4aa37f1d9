"""Streams and listeners, as `socket` has them."""
from __future__ import annotations

import io
import socket
import threading
import time
from typing import Any, Iterator, Optional, Sequence, Tuple, Union

from ._core import Core, Turn
from ._smstream import ffi, lib
from .errors import from_record, make_error

__all__ = ["Listener", "Stream", "connect", "listen"]

Buffer = Any  # bytes, bytearray, memoryview, mmap, array.array…: all that has a contiguous buffer

# Looked up once: these are called for every message.
_try_read, _try_write, _EAGAIN = lib.sms_try_read, lib.sms_try_write, lib.SMS_EAGAIN
_try_send, _try_recv = lib.sms_try_send_record, lib.sms_try_recv_record
_char_array = ffi.typeof("char[]")
_unpack, _TOO_SMALL = ffi.unpack, lib.SMS_ETOOSMALL
# The bytes that a stream keeps for what it receives into an object of its own.
_SCRATCH = 1 << 16


def _from_buffer(buffer: Buffer, writable: bool = False) -> Any:
    return ffi.from_buffer(_char_array, buffer, writable)


# How long a call stays in C before Python looks for signals, in milliseconds.
_SLICE_MS = 100
_NOT_SET: Any = object()


class _Handle:
    """Owns the C stream. What uses it keeps a reference, so that it is freed when nothing does."""

    __slots__ = ("in_order", "kept", "s")

    def __init__(self, s: Any, kept: Any = None) -> None:
        self.s = s
        self.in_order = True
        # The buffers of an attached stream, whose sms_stream is not from the heap.
        self.kept = kept

    def __del__(self) -> None:
        if self.s is not None:
            s, self.s = self.s, None
            (lib.sms_close if self.in_order else lib.sms_abort)(s)


class _Turn(Turn):  # type: ignore[misc]
    """The lock of a half. `taken` says to the calls of `Core` that a thread uses the half without the interpreter lock."""

    def __init__(self) -> None:
        lock = threading.Lock()
        self._acquire, self._release, self.locked = lock.acquire, lock.release, lock.locked

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        taken = self._acquire(blocking, timeout)
        if taken:
            self.taken = True
        return taken

    def release(self) -> None:
        self.taken = False
        self._release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: Any) -> None:
        self.release()


class Stream(Core):  # type: ignore[misc]
    """A connected stream: bytes in both directions, in order, until an end that each side says by itself.

    It has the methods of a connected `socket.socket` that make sense, with the same arguments. One thread may read while another writes; a
    second one that wants to do the same waits for the first, for as long as its timeout allows. `close` ends the waits of all.

    Blocking calls can be interrupted by signals, so Ctrl-C works. They look for 50 µs before they sleep, if that was worth it lately: see
    `set_spin`. The peer's death is noticed within 20 ms.
    """

    def __init__(self, handle: _Handle, address: str = "", trusted: bool = False) -> None:
        self._handle: Optional[_Handle] = handle
        self._address = address
        self._trusted = trusted
        self._timeout: Optional[float] = None
        self._reading, self._writing = _Turn(), _Turn()
        # Only the holder of _reading uses it.
        self._scratch: Any = None
        self._bind(int(ffi.cast("uintptr_t", handle.s)), self._reading, self._writing)

    @classmethod
    def attach(cls, mine: Buffer, peer: Buffer, *, trusted: bool = False) -> "Stream":
        """A stream on memory that both parties have mapped: two segments, of which mine is writable and set up.

        Raises `LayoutError`, whose `name` is the fault. Its peer's death is not noticed: there is nothing to ask.
        """
        a = ffi.from_buffer(mine, require_writable=True)
        b = ffi.from_buffer(peer)
        s = ffi.new("sms_stream *")
        code = lib.sms_attach(s, a, len(a), b, len(b))
        if code < 0:
            raise make_error(code)
        return cls(_Handle(s, (s, a, b)), "memory", trusted)

    # What a stream is

    @property
    def closed(self) -> bool:
        """Whether `close` or `abort` was called."""
        return self._handle is None

    def fileno(self) -> int:
        """The socket over which the two met, for `select`: see `arm`. -1 after `close`. Streams of files have none: `OSError`."""
        if self._handle is None:
            return -1
        fd = lib.sms_fd(self._handle.s)
        if fd < 0:
            raise make_error(fd)
        return fd

    def peer_credentials(self) -> Tuple[int, int, int]:
        """(pid, uid, gid) of the process that the kernel attested on the other side of a socket."""
        who = ffi.new("struct ucred *")
        code = lib.sms_peer_credentials(self._get().s, who)
        if code < 0:
            raise make_error(code)
        return who.pid, who.uid, who.gid

    def is_peer_gone(self) -> bool:
        """Asks now whether the process on the other side has died or let go."""
        return lib.sms_peer_gone(self._get().s)

    def settimeout(self, timeout: Optional[float]) -> None:
        """None waits for ever, 0 does not wait, other values are seconds. They count for each call as a whole."""
        if timeout is not None and timeout < 0:
            raise ValueError("a timeout is not negative")
        self._timeout = timeout

    def gettimeout(self) -> Optional[float]:
        """What `settimeout` set: None at first."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """As for a socket: `settimeout(None)` or `settimeout(0)`."""
        self._timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        """Whether calls wait."""
        return self._timeout != 0

    def set_spin(self, seconds: float) -> None:
        """How long a blocked call looks before it sleeps, each time. 0 saves processor time, and costs about 40 µs for each answer that comes late."""
        lib.sms_set_spin(self._get().s, int(seconds * 1e6))

    # Reading. `recv`, `send` and what else `Core` has come here by names with an underscore, if they are not done at once.

    def _recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        if flags:
            raise ValueError("flags have no meaning here")
        view = _from_buffer(buffer, True)
        size = len(view)
        if nbytes:
            if nbytes < 0 or nbytes > size:
                raise ValueError("nbytes is larger than the buffer")
            size = nbytes
        handle = self._handle or self._get()
        lock = self._reading
        if not lock.acquire(False):
            self._wait_for(lock)
        try:
            n = _try_read(handle.s, view, size)
            if n == _EAGAIN and self._timeout != 0:
                n = self._sliced(lib.sms_read, handle, view, size, self._timeout)
        finally:
            lock.release()
        if n < 0:
            raise make_error(n)
        return n

    def _recv(self, bufsize: int, flags: int = 0) -> bytes:
        if bufsize > _SCRATCH:
            buffer = bytearray(bufsize)
            n = self._recv_into(buffer, 0, flags)
            return bytes(memoryview(buffer)[:n])
        if flags or bufsize < 0:
            raise ValueError("flags have no meaning here" if flags else "negative buffersize in recv")
        handle = self._handle or self._get()
        lock = self._reading
        if not lock.acquire(False):
            self._wait_for(lock)
        try:
            scratch = self._scratch
            if scratch is None:
                scratch = self._scratch = ffi.new(_char_array, _SCRATCH)
            n = _try_read(handle.s, scratch, bufsize)
            if n == _EAGAIN and self._timeout != 0:
                n = self._sliced(lib.sms_read, handle, scratch, bufsize, self._timeout)
            if n >= 0:
                return _unpack(scratch, n)
        finally:
            lock.release()
        raise make_error(n)

    def _recv_exactly(self, n: int) -> bytes:
        first = self._recv(n) if 0 < n <= _SCRATCH else b""
        got = len(first)
        if got == n:
            return first
        buffer = bytearray(n)
        view = memoryview(buffer)
        view[:got] = first
        while got < n:
            r = self._recv_into(view[got:])
            if r == 0:
                raise EOFError(bytes(view[:got]))
            got += r
        return bytes(buffer)

    def peek(self) -> memoryview:
        """The bytes that are there, where they lie: read-only, without a copy, in one piece. Empty at the end of the stream.

        Call `consume` to give their room back. The view stays valid after that, but the peer overwrites it. Only for `trusted` streams, as
        a peer can change the bytes while you look.
        """
        handle = self._get_trusted()
        place, n = ffi.new("const void **"), ffi.new("size_t *")
        with self._reading:
            while True:
                code = lib.sms_peek(handle.s, place, n)
                if code != lib.SMS_EAGAIN or self._timeout == 0:
                    break
                waited = self._sliced(_wait_bytes, handle, None, 1, self._timeout)
                if waited < 0 and waited != lib.SMS_EPEERGONE:
                    code = waited
                    break
        if code < 0:
            raise make_error(code)
        return memoryview(_keep(handle, place[0], n[0])).toreadonly()

    def consume(self, n: int) -> None:
        """Takes n bytes of what `peek` showed, and gives their room back."""
        with self._reading:
            code = lib.sms_consume(self._get().s, n)
        if code < 0:
            raise make_error(code)

    # Writing

    def _send(self, data: Buffer, flags: int = 0) -> int:
        if flags:
            raise ValueError("flags have no meaning here")
        view = data if type(data) is bytes else _from_buffer(data)
        size = len(view)
        handle = self._handle or self._get()
        lock = self._writing
        if not lock.acquire(False):
            self._wait_for(lock)
        try:
            n = _try_write(handle.s, view, size)
            while n == _EAGAIN and self._timeout != 0:
                n = self._sliced(_wait_room, handle, None, 1, self._timeout)
                if n > 0:
                    n = _try_write(handle.s, view, size)
        finally:
            lock.release()
        if n < 0:
            raise make_error(n)
        return n

    def _sendall(self, data: Buffer, flags: int = 0) -> None:
        if flags:
            raise ValueError("flags have no meaning here")
        view = data if type(data) is bytes else _from_buffer(data)
        size = len(view)
        handle = self._handle or self._get()
        lock = self._writing
        if not lock.acquire(False):
            self._wait_for(lock)
        try:
            n = _try_write(handle.s, view, size)
            if n != size:
                self._send_rest(handle, view, size, n)
        finally:
            lock.release()

    def _send_rest(self, handle: _Handle, view: Any, size: int, n: int) -> None:
        """Writes on after n bytes, or an error, while it holds the lock."""
        timeout, done = self._timeout, 0
        deadline = None if timeout is None else time.monotonic() + timeout
        view = _from_buffer(view) if type(view) is bytes else view
        while True:
            if n > 0:
                done += n
            if done >= size:
                return
            if n < 0 and n not in (_EAGAIN, lib.SMS_ETIMEDOUT):
                raise make_error(n)
            left = _SLICE_MS
            if deadline is not None:
                left = min(left, int((deadline - time.monotonic()) * 1000))
                if left < 0 or timeout == 0:
                    raise make_error(_EAGAIN if timeout == 0 else lib.SMS_ETIMEDOUT)
            n = lib.sms_write(handle.s, view + done, size - done, max(left, 1))

    def reserve(self) -> memoryview:
        """Room in the lane, in one piece, to be filled in place: at least one byte. The peer sees nothing of it until `commit`.

        Only for `trusted` streams: the peer can read what you have not committed.
        """
        handle = self._get_trusted()
        place, n = ffi.new("void **"), ffi.new("size_t *")
        with self._writing:
            while True:
                code = lib.sms_reserve(handle.s, place, n)
                if code != lib.SMS_EAGAIN or self._timeout == 0:
                    break
                waited = self._sliced(_wait_room, handle, None, 1, self._timeout)
                if waited < 0:
                    code = waited
                    break
        if code < 0:
            raise make_error(code)
        return memoryview(_keep(handle, place[0], n[0]))

    def commit(self, n: int) -> None:
        """Sends the first n bytes of what `reserve` gave."""
        with self._writing:
            code = lib.sms_commit(self._get().s, n)
        if code < 0:
            raise make_error(code)

    # Records

    @property
    def max_record(self) -> int:
        """The bytes of the longest record that can be sent: the lane less four."""
        return lib.sms_max_record(self._get().s)

    @property
    def peer_has_records(self) -> bool:
        """Whether the peer says that it sends and receives records. A peer may do so without saying it."""
        return lib.sms_peer_has_records(self._get().s)

    def _send_record(self, record: Buffer) -> None:
        view = record if type(record) is bytes else _from_buffer(record)
        size = len(view)
        handle = self._handle or self._get()
        lock = self._writing
        if not lock.acquire(False):
            self._wait_for(lock)
        try:
            code = _try_send(handle.s, view, size)
            if code == _EAGAIN and self._timeout != 0:
                code = self._sliced(lib.sms_send_record, handle, view, size, self._timeout)
        finally:
            lock.release()
        if code < 0:
            raise make_error(code)

    def next_record(self) -> Optional[int]:
        """Waits for the next record, which stays, and returns its length. None: no more come."""
        handle = self._handle or self._get()
        with self._reading:
            n = self._wait_record(handle)
        return self._record_result(n)

    def _recv_record(self) -> Optional[bytes]:
        handle = self._handle or self._get()
        lock = self._reading
        if not lock.acquire(False):
            self._wait_for(lock)
        try:
            if self._scratch is None:
                self._scratch = ffi.new(_char_array, _SCRATCH)
            n = _try_recv(handle.s, self._scratch, len(self._scratch))
            if n == _EAGAIN and self._timeout != 0:
                n = self._wait_record(handle)
                if n >= 0:
                    n = _try_recv(handle.s, self._scratch, len(self._scratch))
            if n == _TOO_SMALL:
                # No longer than the peer's lane, whatever a header says.
                self._scratch = ffi.new(_char_array, max(1, lib.sms_next_record(handle.s)))
                n = _try_recv(handle.s, self._scratch, len(self._scratch))
            if n >= 0:
                return _unpack(self._scratch, n)
        finally:
            lock.release()
        # A record that became longer since it was looked at: the peer has changed the header.
        self._record_result(lib.SMS_ECORRUPT if n == _TOO_SMALL else n)
        return None

    def _recv_record_into(self, buffer: Buffer) -> Optional[int]:
        view = _from_buffer(buffer, True)
        handle = self._handle or self._get()
        lock = self._reading
        if not lock.acquire(False):
            self._wait_for(lock)
        try:
            n = _try_recv(handle.s, view, len(view))
            if n == _EAGAIN and self._timeout != 0:
                n = self._wait_record(handle)
                if n >= 0:
                    n = _try_recv(handle.s, view, len(view))
        finally:
            lock.release()
        return self._record_result(n)

    def skip_record(self) -> Optional[int]:
        """Drops the next record, for which it waits, and returns its length. None: no more come."""
        handle = self._handle or self._get()
        with self._reading:
            n = self._wait_record(handle)
            if n >= 0:
                n = lib.sms_skip_record(handle.s)
        return self._record_result(n)

    def _wait_record(self, handle: _Handle) -> int:
        n = lib.sms_next_record(handle.s)
        if n == _EAGAIN and self._timeout != 0:
            n = self._sliced(_wait_record, handle, None, 0, self._timeout)
        return n

    @staticmethod
    def _record_result(n: int) -> Optional[int]:
        if n == lib.SMS_EEND:
            return None
        if n < 0:
            raise make_error(n)
        return n

    # Readiness

    def arm(self, read: bool = False, write: bool = False) -> Tuple[bool, bool]:
        """Asks for the socket to become readable when there is a byte to read, or room to write.

        Returns which of them are so already; if none, wait until `fileno` is readable (with `select`, for reading in both cases), then try, and
        arm again. The socket carries wakes and no data: never read from it.
        """
        halves = (lib.SMS_READS if read else 0) | (lib.SMS_WRITES if write else 0)
        with self._reading, self._writing:
            ready = lib.sms_arm(self._get().s, halves)
        if ready < 0:
            raise make_error(ready)
        return bool(ready & lib.SMS_READS), bool(ready & lib.SMS_WRITES)

    # The end

    def shutdown(self, how: int) -> None:
        """`socket.SHUT_WR`: no more bytes come from here. `SHUT_RD`: no more are taken, and the peer's writes fail. `SHUT_RDWR`: both."""
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise ValueError("how is SHUT_RD, SHUT_WR or SHUT_RDWR")
        handle = self._get()
        if how != socket.SHUT_WR:
            with self._reading:
                lib.sms_shutdown(handle.s, lib.SMS_READS)
        if how != socket.SHUT_RD:
            with self._writing:
                lib.sms_shutdown(handle.s, lib.SMS_WRITES)

    def close(self) -> None:
        """Closes in order: the peer reads what was sent and then the end; its writes fail. Waits in other threads end within 20 ms.

        The memory stays while views of `peek` and `reserve` are about.
        """
        self._end(in_order=True)

    def abort(self) -> None:
        """Lets go without closing in order: the peer finds this end dead."""
        self._end(in_order=False)

    def _end(self, in_order: bool) -> None:
        handle, self._handle = self._handle, None
        if handle is None:
            return
        self._bind(0, self._reading, self._writing)
        if self._reading.locked() or self._writing.locked():
            lib.sms_cancel(handle.s)
        handle.in_order = in_order
        if in_order:
            with self._reading, self._writing:
                lib.sms_shutdown(handle.s, lib.SMS_READS | lib.SMS_WRITES)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<smstream.Stream {self._address!r}{' closed' if self.closed else ''}>"

    # Files

    def makefile(
        self,
        mode: str = "r",
        buffering: Optional[int] = None,
        *,
        encoding: Optional[str] = None,
        errors: Optional[str] = None,
        newline: Optional[str] = None,
    ) -> Any:
        """A file object, as `socket.makefile` gives it. Closing it does not close the stream."""
        if not set(mode) <= {"r", "w", "b"} or not set(mode) & {"r", "w"}:
            raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
        reading, writing = "r" in mode, "w" in mode
        raw = _Raw(self, reading, writing)
        if buffering is None or buffering < 0:
            buffering = io.DEFAULT_BUFFER_SIZE
        if buffering == 0:
            if "b" not in mode:
                raise ValueError("unbuffered streams must be binary")
            return raw
        file: Any
        if reading and writing:
            file = io.BufferedRWPair(raw, raw, buffering)
        elif reading:
            file = io.BufferedReader(raw, buffering)
        else:
            file = io.BufferedWriter(raw, buffering)
        if "b" in mode:
            return file
        return io.TextIOWrapper(file, encoding, errors, newline, line_buffering=writing)

    # Inside

    def _get(self) -> _Handle:
        handle = self._handle
        if handle is None:
            raise ValueError("the stream is closed")
        return handle

    def _get_trusted(self) -> _Handle:
        if not self._trusted:
            raise ValueError("only for streams that were made with trusted=True: the peer can change the bytes meanwhile")
        return self._get()

    def _wait_for(self, lock: _Turn) -> None:
        """Takes the lock of a half that another thread has, within the timeout."""
        timeout = self._timeout
        if timeout == 0:
            raise make_error(_EAGAIN)
        if not lock.acquire(timeout=-1 if timeout is None else timeout):
            raise make_error(lib.SMS_ETIMEDOUT)

    @staticmethod
    def _sliced(call: Any, handle: _Handle, view: Any, size: int, timeout: Optional[float]) -> int:
        """Calls again and again, so that signals are seen, until it is no timeout or the whole time is over."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            ms = _SLICE_MS
            if deadline is not None:
                ms = max(0, min(ms, int((deadline - time.monotonic()) * 1000 + 0.999)))
            n = call(handle.s, view, size, max(ms, 1))
            if n not in (lib.SMS_ETIMEDOUT, lib.SMS_EAGAIN) or (deadline is not None and time.monotonic() >= deadline):
                return n


def _wait_bytes(s: Any, _view: Any, want: int, ms: int) -> int:
    return lib.sms_wait_bytes(s, want, ms)


def _wait_record(s: Any, _view: Any, _want: int, ms: int) -> int:
    return lib.sms_wait_record(s, ms)


def _wait_room(s: Any, _view: Any, want: int, ms: int) -> int:
    return lib.sms_wait_room(s, want, ms)


def _keep(handle: _Handle, place: Any, n: int) -> Any:
    """A buffer over n bytes that keeps the mapping alive as long as it lives."""
    return ffi.buffer(ffi.gc(ffi.cast("char *", place), lambda _, handle=handle: None), n)


class _Raw(io.RawIOBase):
    """A stream as a raw file."""

    def __init__(self, stream: Stream, reading: bool, writing: bool) -> None:
        self._stream, self._reading, self._writing = stream, reading, writing

    def readable(self) -> bool:
        return self._reading

    def writable(self) -> bool:
        return self._writing

    def readinto(self, buffer: Any) -> Optional[int]:
        try:
            return self._stream.recv_into(buffer)
        except BlockingIOError:
            return None

    def write(self, data: Any) -> Optional[int]:
        try:
            return self._stream.send(data)
        except BlockingIOError:
            return None

    def fileno(self) -> int:
        return self._stream.fileno()


def _options(
    capacity: Union[int, Sequence[int], None],
    max_capacity: Optional[int],
    allow_uids: Sequence[int],
    allow_any: bool,
    handshake_timeout: Optional[float],
    records: bool,
) -> Any:
    options = ffi.new("sms_options *", lib.sms_options_default())
    if capacity is not None:
        both = (capacity, capacity) if isinstance(capacity, int) else tuple(capacity)
        options.capacity[0], options.capacity[1] = both
    if max_capacity is not None:
        options.max_capacity = max_capacity
    users = ffi.new("uid_t[]", list(allow_uids)) if allow_uids else ffi.NULL
    options.allow, options.allowed, options.allow_any = users, len(allow_uids), allow_any
    if handshake_timeout is not None:
        options.handshake_ms = int(handshake_timeout * 1000)
    options.records = records
    return options, users


def connect(
    address: str,
    timeout: Optional[float] = None,
    *,
    capacity: Union[int, Sequence[int], None] = None,
    max_capacity: Optional[int] = None,
    allow_uids: Sequence[int] = (),
    allow_any: bool = False,
    trusted: bool = False,
    records: bool = False,
) -> Stream:
    """Connects to a listener at `file:PATH`, `shm:/NAME`, `unix:PATH`, `unix:@NAME` or `fd:N`; waits until it accepts.

    `timeout`: seconds, None for ever. `capacity`: what to propose over a socket, bytes or (listener's, connector's); the listener decides.
    `max_capacity`: the largest lane to accept over a socket. `allow_uids`, `allow_any`: who may listen there besides this user.
    `trusted`: allows `peek` and `reserve`. `records`: says to the peer that this side sends and receives records; it changes nothing else.

    Raises an `Error`: `NoListener`, `ListenerDied`, `TimedOut`, `Refused`, `NotAllowed`, `ProtocolError`, `LayoutError`.
    """
    options = _options(capacity, max_capacity, allow_uids, allow_any, None, records)
    ms = -1 if timeout is None else int(timeout * 1000)
    result: list[Any] = []
    given_up = threading.Event()
    ready = threading.Event()

    def work() -> None:
        err = ffi.new("sms_err *")
        s = lib.sms_connect(address.encode(), options[0], ms, err)
        if given_up.is_set() and s != ffi.NULL:
            lib.sms_abort(s)
            return
        result.append((s, err))
        ready.set()

    if threading.current_thread() is threading.main_thread() and (timeout is None or timeout > 1):
        # In a thread of its own, so that this one sees signals.
        threading.Thread(target=work, daemon=True, name="smstream-connect").start()
        try:
            while not ready.wait(_SLICE_MS / 1000):
                pass
        except BaseException:
            given_up.set()
            raise
    else:
        work()
    s, err = result[0]
    if s == ffi.NULL:
        raise from_record(err)
    return Stream(_Handle(s), address, trusted)


class Listener:
    """Listens at a name, which it removes when it is closed. One connector after the other is accepted; none can hold up another."""

    def __init__(self, address: str, options: Any, trusted: bool) -> None:
        err = ffi.new("sms_err *")
        self._l = lib.sms_listen(address.encode(), options[0], err)
        if self._l == ffi.NULL:
            raise from_record(err)
        # The header has a copy of the options, and a pointer to the users in it.
        self._options = options
        self._address = address
        self._trusted = trusted
        self._lock = threading.Lock()
        self._timeout: Optional[float] = None
        self._closing = False

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._address

    def settimeout(self, timeout: Optional[float]) -> None:
        """For `accept`: None waits for ever, 0 does not wait, other values are seconds."""
        self._timeout = timeout

    def fileno(self) -> int:
        """Readable when `accept` has something to do. Listeners at files have none: `OSError`."""
        if self._closing:
            return -1
        fd = lib.sms_listener_fd(self._l)
        if fd < 0:
            raise make_error(fd)
        return fd

    def accept(self, timeout: Optional[float] = _NOT_SET) -> Stream:
        """Waits for a connector. Raises `TimedOut`, `WouldBlock` (timeout 0), `NameLost`, or what the system says; then it can go on."""
        timeout = self._timeout if timeout is _NOT_SET else timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        err = ffi.new("sms_err *")
        while True:
            with self._lock:
                if self._closing:
                    raise ValueError("the listener is closed")
                left = _SLICE_MS if deadline is None else max(0, min(_SLICE_MS, int((deadline - time.monotonic()) * 1000 + 0.999)))
                s = lib.sms_accept(self._l, left, err)
            if s != ffi.NULL:
                return Stream(_Handle(s), self._address, self._trusted)
            over = deadline is not None and time.monotonic() >= deadline
            if err.code not in (lib.SMS_ETIMEDOUT, lib.SMS_EAGAIN):
                raise from_record(err)
            if over:
                raise make_error(lib.SMS_EAGAIN if timeout == 0 else lib.SMS_ETIMEDOUT)

    def close(self) -> None:
        """Stops listening and removes the name."""
        self._closing = True
        with self._lock:
            l, self._l = self._l, ffi.NULL
            if l != ffi.NULL:
                lib.sms_listener_close(l)

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __iter__(self) -> Iterator[Stream]:
        while True:
            yield self.accept()

    def __del__(self) -> None:
        if getattr(self, "_l", ffi.NULL) != ffi.NULL:
            self.close()

    def __repr__(self) -> str:
        return f"<smstream.Listener {self._address!r}{' closed' if self._closing else ''}>"


def listen(
    address: str,
    *,
    capacity: Union[int, Sequence[int], None] = None,
    allow_uids: Sequence[int] = (),
    allow_any: bool = False,
    handshake_timeout: Optional[float] = None,
    trusted: bool = False,
    records: bool = False,
) -> Listener:
    """Listens at an address. A name that a dead listener has left is taken over.

    `capacity`: bytes of both lanes, or (listener's, connector's): powers of two up to 2²⁹, 256 KiB if not given; (n, 0) is one-way.
    `handshake_timeout`: how long a connector may take, in seconds. For the rest see `connect`.
    """
    return Listener(address, _options(capacity, None, allow_uids, allow_any, handshake_timeout, records), trusted)
