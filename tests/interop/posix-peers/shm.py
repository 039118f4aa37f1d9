"""Shared memory objects by posix_ipc and mmap.

    shm.py create NAME LEN   makes an object that begins with standard input
    shm.py map NAME          its bytes to standard output, by a mapping
    shm.py unlink NAME
"""

import mmap
import sys

import posix_ipc


def mapping(memory):
    found = mmap.mmap(memory.fd, memory.size)
    memory.close_fd()
    return found


command, name = sys.argv[1:3]
if command == "create":
    with mapping(posix_ipc.SharedMemory(name, posix_ipc.O_CREX, size=int(sys.argv[3]))) as memory:
        memory.write(sys.stdin.buffer.read())
elif command == "map":
    with mapping(posix_ipc.SharedMemory(name)) as memory:
        sys.stdout.buffer.write(memory[:])
elif command == "unlink":
    posix_ipc.unlink_shared_memory(name)
else:
    sys.exit(__doc__)
