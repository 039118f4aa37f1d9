"""asyncio: `open_connection` and `start_server`, with the readers and writers that asyncio has for sockets.

Streams that met over a socket use the loop's own poll. Those of files have no descriptor: a thread of the stream waits for it.
"""
from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any, Awaitable, Callable, Deque, Optional, Set, Tuple, Union

from ._smstream import lib
from .errors import TimedOut, WouldBlock, make_error
from .stream import Listener, Stream, connect, listen

__all__ = ["Server", "open_connection", "start_server"]

_CHUNK = 1 << 16
Callback = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Union[Awaitable[None], None]]


class _Waiter(threading.Thread):
    """Waits for one half of a stream without a descriptor, and says so to the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stream: Stream, wait: Callable[..., int], ready: Callable[[], None]) -> None:
        super().__init__(daemon=True, name="smstream-wait")
        self._loop, self._handle, self._wait, self._ready = loop, stream._get(), wait, ready
        self._go = threading.Semaphore(0)
        self._over = False
        self.start()

    def ask(self) -> None:
        self._go.release()

    def stop(self) -> None:
        self._over = True
        self._go.release()

    def run(self) -> None:
        while True:
            self._go.acquire()
            while not self._over:
                if self._wait(self._handle.s, 1, 200) != lib.SMS_ETIMEDOUT:
                    break
            if self._over:
                return
            try:
                self._loop.call_soon_threadsafe(self._ready)
            except RuntimeError:
                return  # The loop is closed.


class _Transport(asyncio.Transport):
    """A stream as asyncio's streams want it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stream: Stream, protocol: asyncio.BaseProtocol) -> None:
        super().__init__({"smstream": stream})
        self._loop, self._stream, self._protocol = loop, stream, protocol
        self._stream.settimeout(0)
        self._out: Deque[memoryview] = deque()
        self._size = 0
        self._high, self._low = 64 * 1024, 16 * 1024
        self._paused = self._full = self._closing = self._eof_sent = self._eof_wanted = self._lost = self._eof_seen = False
        self._buffer = bytearray(_CHUNK)
        self._waiters: Tuple[Optional[_Waiter], Optional[_Waiter]] = (None, None)
        self._waiting = [False, False]
        try:
            self._fd = stream.fileno()
            loop.add_reader(self._fd, self._woken)
        except OSError:
            self._fd = -1
            self._waiters = (
                _Waiter(loop, stream, lib.sms_wait_bytes, lambda: self._waited(0)),
                _Waiter(loop, stream, lib.sms_wait_room, lambda: self._waited(1)),
            )
        loop.call_soon(protocol.connection_made, self)
        loop.call_soon(self._woken)

    # Waiting

    def _waited(self, half: int) -> None:
        self._waiting[half] = False
        self._woken()

    def _woken(self) -> None:
        """Goes on with both halves as far as that goes, and asks to be woken."""
        for _ in range(64):
            if self._lost:
                return
            self._write_some()
            self._read_some()
            if self._lost:
                return
            read, write = not (self._paused or self._eof_seen), bool(self._out)
            if self._fd < 0:
                for half, wanted in enumerate((read, write)):
                    waiter = self._waiters[half]
                    if wanted and not self._waiting[half] and waiter is not None:
                        self._waiting[half] = True
                        waiter.ask()
                return
            try:
                ready = self._stream.arm(read, write)
            except (OSError, ValueError) as e:
                self._end(e if isinstance(e, OSError) else None)
                return
            if self._stream.is_peer_gone() and not read and not write:
                self._end(make_error(lib.SMS_EPEERGONE) if not self._eof_seen else None)
                return
            if not any(ready):
                return
        # Others are to have their turn.
        self._loop.call_soon(self._woken)

    def _read_some(self) -> None:
        for _ in range(16):
            if self._paused or self._eof_seen or self._lost:
                return
            try:
                n = self._stream.recv_into(self._buffer)
            except WouldBlock:
                return
            except OSError as e:
                self._end(e)
                return
            if n:
                self._protocol.data_received(bytes(memoryview(self._buffer)[:n]))  # type: ignore[attr-defined]
                continue
            self._eof_seen = True
            if not self._protocol.eof_received():  # type: ignore[attr-defined]
                self.close()
            return

    def _write_some(self) -> None:
        while self._out:
            try:
                n = self._stream.send(self._out[0])
            except WouldBlock:
                return
            except OSError as e:
                self._end(e)
                return
            self._size -= n
            if n == len(self._out[0]):
                self._out.popleft()
            else:
                self._out[0] = self._out[0][n:]
        if self._full and self._size <= self._low:
            self._full = False
            self._protocol.resume_writing()
        if not self._out and (self._eof_wanted or self._closing) and not self._eof_sent:
            self._eof_sent = True
            self._stream.shutdown(1)
        if not self._out and self._closing:
            self._end(None)

    # What asyncio calls

    def write(self, data: Any) -> None:
        if self._eof_wanted:
            raise RuntimeError("cannot write after write_eof")
        if self._closing or self._lost or not data:
            return
        self._out.append(memoryview(bytes(data)))
        self._size += len(data)
        self._write_some()
        if self._size > self._high and not self._full:
            self._full = True
            self._protocol.pause_writing()
        if self._out:
            self._woken()

    def write_eof(self) -> None:
        self._eof_wanted = True
        self._write_some()

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return self._size

    def get_write_buffer_limits(self) -> Tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: Optional[int] = None, low: Optional[int] = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._loop.call_soon(self._woken)

    def is_reading(self) -> bool:
        return not self._paused and not self._eof_seen

    def is_closing(self) -> bool:
        return self._closing or self._lost

    def close(self) -> None:
        if self._closing or self._lost:
            return
        self._closing = True
        self._write_some()

    def abort(self) -> None:
        self._out.clear()
        self._end(None, in_order=False)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def _end(self, error: Optional[OSError], in_order: bool = True) -> None:
        if self._lost:
            return
        self._lost = True
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
        for waiter in self._waiters:
            if waiter is not None:
                waiter.stop()
        if in_order and error is None:
            self._stream.close()
        else:
            self._stream.abort()
        self._loop.call_soon(self._protocol.connection_lost, error)


def _wrap(stream: Stream, limit: int, client: Optional[Callback] = None) -> Tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport = _Transport(loop, stream, protocol)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def open_connection(
    address: str, *, limit: int = 2**16, timeout: Optional[float] = None, **options: Any
) -> Tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects, as `asyncio.open_connection` does. `options` are those of `smstream.connect`."""
    loop = asyncio.get_running_loop()
    stream = await loop.run_in_executor(None, lambda: connect(address, timeout, **options))
    return _wrap(stream, limit)


class Server:
    """What `start_server` gives: it accepts until it is closed."""

    def __init__(self, callback: Callback, listener: Listener, limit: int) -> None:
        self._callback, self._listener, self._limit = callback, listener, limit
        self._loop = asyncio.get_running_loop()
        self._tasks: Set[asyncio.Task[Any]] = set()
        self._closed = asyncio.Event()
        self._thread: Optional[threading.Thread] = None
        self._timer: Optional[asyncio.TimerHandle] = None
        try:
            self._fd = listener.fileno()
            self._loop.add_reader(self._fd, self._accept)
            self._tick()
        except OSError:
            self._fd = -1
            self._thread = threading.Thread(target=self._accept_in_thread, daemon=True, name="smstream-accept")
            self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._listener.address

    def _tick(self) -> None:
        """Connectors that say nothing are turned away when something else happens, and now and then."""
        self._accept()
        if not self._closed.is_set():
            self._timer = self._loop.call_later(1, self._tick)

    def _accept(self) -> None:
        for _ in range(64):
            if self._closed.is_set():
                return
            try:
                self._serve(self._listener.accept(0))
            except WouldBlock:
                return
            except OSError as e:
                self._loop.call_exception_handler({"message": "smstream: cannot accept", "exception": e})
                return

    def _accept_in_thread(self) -> None:
        while not self._closed.is_set():
            try:
                stream = self._listener.accept(0.2)
            except TimedOut:
                continue
            except (OSError, ValueError) as e:
                if not self._closed.is_set():
                    context = {"message": "smstream: cannot accept", "exception": e}
                    self._loop.call_soon_threadsafe(self._loop.call_exception_handler, context)
                return
            self._loop.call_soon_threadsafe(self._serve, stream)

    def _serve(self, stream: Stream) -> None:
        result = self._callback(*_wrap(stream, self._limit))
        if result is not None:
            task: asyncio.Task[Any] = self._loop.create_task(result)  # type: ignore[arg-type]
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._loop.call_exception_handler({"message": "smstream: a client's task failed", "exception": task.exception(), "task": task})

    def is_serving(self) -> bool:
        """Whether it accepts."""
        return not self._closed.is_set()

    def close(self) -> None:
        """Stops listening. Connections that are there go on."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
        self._listener.close()

    async def wait_closed(self) -> None:
        """Waits until `close` was called."""
        await self._closed.wait()

    async def serve_forever(self) -> None:
        """Waits until it is cancelled, and closes then."""
        try:
            await self._closed.wait()
        finally:
            self.close()

    async def __aenter__(self) -> "Server":
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.close()
        await self.wait_closed()


async def start_server(client_connected_cb: Callback, address: str, *, limit: int = 2**16, **options: Any) -> Server:
    """Listens, as `asyncio.start_server` does: the callback gets a reader and a writer for each client. `options` are those of `smstream.listen`."""
    return Server(client_connected_cb, listen(address, **options), limit)


