"""Takes the C header along, and compiles what calls it."""
import shutil
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
HEADER = HERE.parent / "c" / "smstream.h"
COPY = HERE / "src" / "smstream" / "smstream.h"
# In the repository; an archive of the package has the copy.
if HEADER.exists():
    shutil.copyfile(HEADER, COPY)

setup(cffi_modules=["src/smstream/_build.py:ffi"])
