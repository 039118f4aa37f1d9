"""A party that uses Python's sysv_ipc: `sysv.py WHAT [ARGUMENTS]`, on the keys of the current directory."""

import sys

import sysv_ipc


def key(letter):
    return sysv_ipc.ftok(".", ord(letter), silence_warning=True)


def shm_write(text):
    shm = sysv_ipc.SharedMemory(key("S"), sysv_ipc.IPC_CREX, mode=0o666, size=100)
    shm.write(text.encode() + b"\0")
    shm.detach()


def shm_read():
    shm = sysv_ipc.SharedMemory(key("S"))
    print(shm.size, oct(shm.mode & 0o777), shm.read().split(b"\0")[0].decode())
    shm.detach()


def shm_rm():
    sysv_ipc.SharedMemory(key("S")).remove()


def sem_create(value):
    sysv_ipc.Semaphore(key("s"), sysv_ipc.IPC_CREX, mode=0o666, initial_value=int(value))


def sem_value():
    print(sysv_ipc.Semaphore(key("s")).value)


def sem_acquire():
    sysv_ipc.Semaphore(key("s")).acquire()


def sem_release():
    sysv_ipc.Semaphore(key("s")).release()


def sem_waiting():
    print(sysv_ipc.Semaphore(key("s")).waiting_for_nonzero)


def sem_rm():
    sysv_ipc.Semaphore(key("s")).remove()


def msg_send(number, text):
    queue = sysv_ipc.MessageQueue(key("M"), sysv_ipc.IPC_CREAT, mode=0o666)
    queue.send(text.encode(), type=int(number))


def msg_receive(number):
    message, number = sysv_ipc.MessageQueue(key("M")).receive(type=int(number))
    # The text of a Pascal string of 256 bytes, or the message as it is.
    text = message[1 : 1 + message[0]] if len(message) == 256 else message
    print(number, text.decode())


def msg_rm():
    sysv_ipc.MessageQueue(key("M")).remove()


globals()[sys.argv[1]](*sys.argv[2:])
