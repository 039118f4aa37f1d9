"""Takes the C header along, and compiles what calls it."""
import platform
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel

HERE = Path(__file__).resolve().parent
HEADER = HERE.parent / "c" / "smstream.h"
COPY = HERE / "src" / "smstream" / "smstream.h"
# In the repository; an archive of the package has the copy.
if HEADER.exists():
    shutil.copyfile(HEADER, COPY)

# From 3.11 on one binary serves all later versions; the interface that they share has no buffers before.
STABLE = sys.version_info >= (3, 11) and not sysconfig.get_config_var("Py_GIL_DISABLED")
FAST = Extension(
    "smstream._fast",
    ["src/smstream/_fast.c"],
    depends=[str(COPY)],
    include_dirs=["src/smstream"],
    extra_compile_args=["-std=c11", "-O2"],
    define_macros=[("_GNU_SOURCE", "1"), ("_FILE_OFFSET_BITS", "64"), *([("Py_LIMITED_API", "0x030B0000")] if STABLE else [])],
    py_limited_api=STABLE,
)


class Wheel(bdist_wheel):
    """A wheel for this version of Python and all later ones, where there can be one."""

    def finalize_options(self):
        if STABLE and platform.python_implementation() == "CPython":
            self.py_limited_api = "cp311"
        super().finalize_options()


setup(
    cffi_modules=["src/smstream/_build.py:ffi"],
    # PyPy has its own way to make calls of C fast, which is cffi's.
    ext_modules=[FAST] if platform.python_implementation() == "CPython" else [],
    cmdclass={"bdist_wheel": Wheel},
)
