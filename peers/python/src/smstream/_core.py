"""What `Stream` inherits: the compiled calls of `_fast.c`, or where there are none (PyPy), calls that all take the long way.

With SMSTREAM_PURE in the environment all take the long way, for tests.
"""
from __future__ import annotations

import os
from typing import Any, Optional

__all__ = ["Core", "Turn"]


class _Turn:
    """Who uses a half."""

    taken = False


class _Core:
    """Each method is that of the subclass whose name begins with an underscore."""

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        return self._recv(bufsize, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        return self._recv_into(buffer, nbytes, flags)

    def recv_exactly(self, n: int) -> bytes:
        return self._recv_exactly(n)

    def send(self, data: Any, flags: int = 0) -> int:
        return self._send(data, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        self._sendall(data, flags)

    def send_record(self, record: Any) -> None:
        self._send_record(record)

    def recv_record(self) -> Optional[bytes]:
        return self._recv_record()

    def recv_record_into(self, buffer: Any) -> Optional[int]:
        return self._recv_record_into(buffer)

    def _bind(self, address: int, reading: _Turn, writing: _Turn) -> None:
        pass

    _recv: Any
    _recv_into: Any
    _recv_exactly: Any
    _send: Any
    _sendall: Any
    _send_record: Any
    _recv_record: Any
    _recv_record_into: Any


Core: Any = _Core
Turn: Any = _Turn
if not os.environ.get("SMSTREAM_PURE"):
    try:
        from ._fast import Core, Turn
    except ImportError:
        pass
