"""Byte streams between processes through shared memory.

    >>> import os, tempfile, smstream
    >>> with tempfile.TemporaryDirectory() as folder, smstream.listen(f"unix:{folder}/chat") as listener:
    ...     if os.fork() == 0:
    ...         with smstream.connect(f"unix:{folder}/chat") as stream:
    ...             stream.sendall(b"hello")
    ...         os._exit(0)
    ...     with listener.accept() as stream:
    ...         print(stream.recv_exactly(5))
    b'hello'

`connect` and `listen` give objects like sockets; `open_connection` and `start_server` are for asyncio. The other side can be of any language
that keeps to the layout. It is a thin layer on a C header, compiled when the package is installed.
"""
from .aio import Server, open_connection, start_server
from .errors import *  # noqa: F401,F403
from .errors import __all__ as _errors
from .stream import Listener, Stream, connect, listen

__all__ = ["Listener", "Server", "Stream", "connect", "listen", "open_connection", "start_server", *_errors]
__version__ = "0.1.0"
