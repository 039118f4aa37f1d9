"""Errors: each is an OSError of the kind that a socket would raise, and has the name that all languages use.

References: docs/LAYOUT.md (the faults A1 to A14), the comments of smstream.h.
"""
from __future__ import annotations

import errno
import os

from ._smstream import ffi, lib

__all__ = [
    "AddressInUse",
    "BufferTooSmall",
    "Cancelled",
    "Closed",
    "Corrupt",
    "Error",
    "LayoutError",
    "ListenerDied",
    "NameLost",
    "NoListener",
    "NotAllowed",
    "PeerGone",
    "ProtocolError",
    "RecordTooLong",
    "Refused",
    "TimedOut",
    "WouldBlock",
]


class Error(OSError):
    """All errors of this package. `name` is the name that every language has for it, such as ``PeerGone``."""

    name: str = "Unknown"


class PeerGone(Error, ConnectionResetError):
    """The peer has died without closing the stream. All that it had sent was read."""


class Closed(Error, BrokenPipeError):
    """The peer takes no more bytes, or this side has said that it sends no more."""


class Corrupt(Error, ConnectionAbortedError):
    """The peer broke the rules of the layout. The stream is over."""


class Cancelled(Error, ConnectionAbortedError):
    """The stream was closed by another thread."""


class TimedOut(Error, TimeoutError):
    """The timeout has passed."""


class WouldBlock(Error, BlockingIOError):
    """Nothing can be done without waiting, and the stream does not wait."""


class NoListener(Error, FileNotFoundError):
    """No process listens there."""


class ListenerDied(Error, ConnectionRefusedError):
    """The listener has died, and left its name."""


class Refused(Error, ConnectionRefusedError):
    """The other side refused, and said why."""


class NotAllowed(Error, PermissionError):
    """The other side runs as a user that is not allowed."""


class AddressInUse(Error):
    """A listener, or some other file, has the name."""


class NameLost(Error):
    """The listener's name was removed, or given to another file."""


class ProtocolError(Error, ConnectionAbortedError):
    """The other side did not keep to the rendezvous."""


class RecordTooLong(Error):
    """The record is longer than `Stream.max_record`, which the lane never has room for. Nothing was sent."""


class BufferTooSmall(Error):
    """The next record is longer than the buffer. It stays: `Stream.next_record` has its length."""


class LayoutError(Error, ValueError):
    """A segment that cannot be used: `name` is the fault, such as ``LaneOffset``."""


_KINDS: dict[int, tuple[type[Error], int]] = {
    lib.SMS_EAGAIN: (WouldBlock, errno.EAGAIN),
    lib.SMS_ETIMEDOUT: (TimedOut, errno.ETIMEDOUT),
    lib.SMS_EPEERGONE: (PeerGone, errno.ECONNRESET),
    lib.SMS_ECLOSED: (Closed, errno.EPIPE),
    lib.SMS_ECORRUPT: (Corrupt, errno.ECONNABORTED),
    lib.SMS_ECANCELLED: (Cancelled, errno.ECONNABORTED),
    lib.SMS_EINUSE: (AddressInUse, errno.EADDRINUSE),
    lib.SMS_ENOLISTENER: (NoListener, errno.ENOENT),
    lib.SMS_ELISTENERDIED: (ListenerDied, errno.ECONNREFUSED),
    lib.SMS_EHUNGUP: (ListenerDied, errno.ECONNREFUSED),
    lib.SMS_EREFUSED: (Refused, errno.ECONNREFUSED),
    lib.SMS_ENOTALLOWED: (NotAllowed, errno.EACCES),
    lib.SMS_ENAMELOST: (NameLost, errno.EADDRNOTAVAIL),
    lib.SMS_EPROTOCOL: (ProtocolError, errno.EPROTO),
    lib.SMS_EMEMORY: (ProtocolError, errno.EPROTO),
    lib.SMS_ETOOLARGE: (ProtocolError, errno.EMSGSIZE),
    lib.SMS_ETOOLONG: (RecordTooLong, errno.EMSGSIZE),
    lib.SMS_ETOOSMALL: (BufferTooSmall, errno.EMSGSIZE),
    lib.SMS_EADDRESS: (Error, errno.EINVAL),
    lib.SMS_EINVALID: (Error, errno.EINVAL),
    lib.SMS_ENOREGION: (Error, errno.EINVAL),
    lib.SMS_ENOFD: (Error, errno.EOPNOTSUPP),
}


def make_error(code: int, text: str | None = None, system: int = 0) -> Error:
    """The exception for a code of the C header."""
    kind, number = _KINDS.get(code, (LayoutError if code >= -14 else Error, errno.EINVAL))
    if system:
        number = system
    sentence = text or ffi.string(lib.sms_strerror(code)).decode()
    # OSError picks a class by the number when it is called itself, and keeps the class that was asked for otherwise.
    error = kind(number, sentence if text or not system else os.strerror(system))
    error.name = ffi.string(lib.sms_error_name(code)).decode()
    return error


def from_record(err) -> Error:
    """The exception for an `sms_err`."""
    return make_error(err.code, ffi.string(err.text).decode(errors="replace"), err.sys)
