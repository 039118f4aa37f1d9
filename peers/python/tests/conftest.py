"""Addresses, and streams whose ends are in two threads or processes."""
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import smstream

PARTY = Path(__file__).resolve().parent / "party.py"


@pytest.fixture(params=["file", "unix", "abstract"])
def address(request, tmp_path):
    return {
        "file": f"file:{tmp_path}/x",
        "unix": f"unix:{tmp_path}/x",
        "abstract": f"unix:@smstream-pytest-{os.getpid()}",
    }[request.param]


@pytest.fixture
def pair(address):
    """A listener's and a connector's end, in one process."""
    with smstream.listen(address, trusted=True) as listener:
        made = []
        t = threading.Thread(target=lambda: made.append(smstream.connect(address, 10, trusted=True)))
        t.start()
        a = listener.accept(10)
        t.join()
    yield a, made[0]
    a.close()
    made[0].close()


class Party:
    def __init__(self, *args):
        self.p = subprocess.Popen([sys.executable, str(PARTY), *map(str, args)], stdout=subprocess.PIPE, text=True)

    def line(self):
        return self.p.stdout.readline().strip()

    def kill(self):
        self.p.send_signal(signal.SIGKILL)
        self.p.wait()

    def end(self):
        out, _ = self.p.communicate(timeout=60)
        return self.p.returncode, out.strip().splitlines()


@pytest.fixture
def party():
    all_parties = []

    def start(*args):
        all_parties.append(Party(*args))
        return all_parties[-1]

    yield start
    for p in all_parties:
        if p.p.poll() is None:
            p.kill()
        p.p.stdout.close()
