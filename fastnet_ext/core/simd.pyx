# cython: freethreading_compatible=True
"""Which vectors this machine has, for Python: tests compare what is written with each of them."""

cdef tuple NAMES = ("plain", "sse2", "avx2", "avx512", "neon")


cdef Simd simd_named(str name) except *:
    if name not in available():
        raise ValueError(f"{name!r}: this machine has {', '.join(available())}")
    return <Simd>NAMES.index(name)


def available():
    """The names of what this machine has, plain C first; the last is what long runs of bytes are worked on with."""
    return tuple([NAMES[kind] for kind in range(<int>SIMD_KINDS) if simd_has(<Simd>kind)])
