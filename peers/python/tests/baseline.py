#!/usr/bin/env python3
"""What Python's own means do between two processes: the baseline of `tests/interop/peers --measure`.

usage: baseline.py small N    messages of 1 KiB per second through a multiprocessing.Pipe
       baseline.py bulk N     MB per second through a Unix socket, N bytes in pieces of 64 KiB
"""
import multiprocessing
import os
import socket
import sys
import time


def small(n):
    reader, writer = multiprocessing.Pipe(duplex=False)
    if os.fork() == 0:
        reader.close()
        message = bytes(1024)
        for _ in range(n):
            writer.send_bytes(message)
        os._exit(0)
    writer.close()
    began = time.monotonic()
    for _ in range(n):
        reader.recv_bytes()
    print(f"{n / (time.monotonic() - began):.0f} messages/s")


def bulk(n):
    reader, writer = socket.socketpair()
    data = bytearray(1 << 16)
    if os.fork() == 0:
        reader.close()
        for _ in range(n // len(data)):
            writer.sendall(data)
        os._exit(0)
    writer.close()
    got, began = 0, time.monotonic()
    while r := reader.recv_into(data):
        got += r
    print(f"{got / 1e6 / (time.monotonic() - began):.0f} MB/s")


if __name__ == "__main__":
    {"small": small, "bulk": bulk}[sys.argv[1]](int(sys.argv[2]))
    os.wait()
