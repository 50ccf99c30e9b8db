"""Builds every ``fastnet_ext/**/*.pyx``; everything else stands in pyproject.toml.

``FASTNET_BUILD`` chooses what is built, several joined by commas:

* ``debug``: no optimisation, debug symbols, ``FASTNET_DEBUG`` defined in C (invariants are checked, live objects
  counted: fastnet_ext/core/debug.h), Cython checks for None.
* ``sanitize``: AddressSanitizer and UndefinedBehaviorSanitizer, ``FASTNET_DEBUG``.
* ``annotate``: Cython's annotated HTML, below ``build/cython-annotate``.
* ``strict``: warnings and performance hints of Cython, and warnings of the C compiler about our own
  headers, fail the build (CI).

``FASTNET_ONLY=http1,core`` limits the build to those folders of ``fastnet_ext``; ``none`` builds nothing.
``FASTNET_JOBS=1`` builds one module at a time; the default is one per core, up to 8, since each takes memory.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def _names(variable: str) -> set[str]:
    return {name for name in os.environ.get(variable, "").split(",") if name}


SWITCHES = _names("FASTNET_BUILD")
ONLY = _names("FASTNET_ONLY")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
JOBS = int(os.environ.get("FASTNET_JOBS") or min(CORES, 8))

if unknown := SWITCHES - {"debug", "sanitize", "annotate", "strict"}:
    sys.exit(f"FASTNET_BUILD: unknown {', '.join(sorted(unknown))}; known are debug, sanitize, annotate, strict")

# What differs in the object files gets a tree of its own, so that no build takes the other's for up to date.
OBJECTS = "-".join(["build", *sorted(SWITCHES & {"debug", "sanitize"})]).replace("-", "/", 1)
# The same for the generated C. ``strict`` generates all of it anew, which must not age the plain build's.
GENERATED = "-".join(["build/cython", *sorted(SWITCHES - {"sanitize"})])

COMPLAINTS = re.compile(
    # Cython's, wherever they point; the C compiler's about our headers, since generated code is Cython's affair.
    r"^(?:warning: |performance hint: ).*|^(?:\./)?fastnet_ext/\S+?:\d+:(?:\d+:)? warning: .*",
    re.MULTILINE,
)


def compile_arguments() -> list[str]:
    arguments = ["-O2", "-std=gnu11", "-fno-strict-aliasing", "-fvisibility=hidden"]
    if SWITCHES & {"debug", "sanitize"}:
        arguments += ["-O1" if "sanitize" in SWITCHES else "-O0", "-g", "-fno-omit-frame-pointer"]
    # A header's helpers that one module does not use are no news; what else is said of generated code is noise.
    noise = ["-Wno-sign-compare", "-Wno-unused-but-set-variable"]
    arguments += ["-Wno-unused-function", *(["-Wall", "-Wextra"] if "strict" in SWITCHES else noise)]
    return arguments + sanitizers()


def sanitizers() -> list[str]:
    return ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"] if "sanitize" in SWITCHES else []


def extensions() -> list[Extension]:
    headers = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("fastnet_ext/**/*.h"))]
    found = []
    for path in sorted(ROOT.glob("fastnet_ext/**/*.pyx")):
        relative = path.relative_to(ROOT)
        if ONLY and relative.parts[1] not in ONLY:
            continue
        found.append(
            Extension(
                ".".join(relative.with_suffix("").parts),
                [str(relative)],
                include_dirs=["."],
                depends=headers,
                define_macros=[("FASTNET_DEBUG", "1")] if SWITCHES & {"debug", "sanitize"} else [],
                extra_compile_args=compile_arguments(),
                extra_link_args=sanitizers(),
            )
        )
    return found


@contextlib.contextmanager
def complaints_end_the_build() -> Iterator[None]:
    """Show what is written to file descriptor 2 at the end, and exit if some of it is a complaint.

    The descriptor, not ``sys.stderr`` nor hooks inside Cython: worker processes and the C compiler
    write to it too, and what Cython's internals are called is Cython's affair.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            written.seek(0)
            text = written.read().decode(errors="replace")
            sys.stderr.write(text)
    if found := sorted(set(COMPLAINTS.findall(text))):
        sys.exit("strict takes no complaints of the compilers:\n" + "\n".join(found))


class BuildExtensions(build_ext):
    """Generates the C code when something is compiled, not when only metadata is asked for."""

    def run(self) -> None:
        with complaints_end_the_build() if "strict" in SWITCHES else contextlib.nullcontext():
            self.generate()
            super().run()

    def generate(self) -> None:
        from Cython.Build import cythonize

        directives: dict[str, object] = {"language_level": 3, "embedsignature": True}
        if "debug" in SWITCHES:
            directives["nonecheck"] = True
        generated = cythonize(
            list(self.extensions),
            build_dir=GENERATED,
            nthreads=JOBS if JOBS > 1 else 0,
            annotate="annotate" in SWITCHES,
            force=True if SWITCHES & {"strict", "annotate"} else None,
            quiet=self.verbose == 0,
            compiler_directives=directives,
        )
        sources = {extension.name: extension.sources for extension in generated}
        for extension in self.extensions:
            extension.sources = sources[extension.name]


# The guard is for the worker processes of cythonize, which import this file where they are not forked.
if __name__ == "__main__":
    os.chdir(ROOT)
    setup(
        ext_modules=extensions(),
        cmdclass={"build_ext": BuildExtensions},
        options={"build": {"build_base": OBJECTS}, "build_ext": {"parallel": JOBS}},
    )
