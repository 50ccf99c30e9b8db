"""UTF-8, RFC 3629: incremental validation (utf8.h), and the ways from text to it and back."""

from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DATA, PyUnicode_DecodeUTF8, PyUnicode_GET_LENGTH
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from fastnet_ext.core.simd cimport Simd


cdef extern from "fastnet_ext/core/utf8.h" nogil:
    # A state is carried from piece to piece: begin with UTF8_ACCEPT, and text is complete
    # in UTF8_ACCEPT only. UTF8_REJECT is final.
    ctypedef enum Utf8State "fn_utf8_state":
        UTF8_ACCEPT "FN_UTF8_ACCEPT"
        UTF8_REJECT "FN_UTF8_REJECT"

    uint8_t utf8_check "fn_utf8_check" (const char* data, size_t size, uint8_t state) noexcept
    # The same with vectors of one kind, which the machine has.
    uint8_t utf8_check_with "fn_utf8_check_with" (Simd kind, const char* data, size_t size, uint8_t state) noexcept
    bint is_ascii "fn_is_ascii" (const char* data, size_t size) noexcept


cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text) noexcept
    str PyUnicode_New(Py_ssize_t size, Py_UCS4 maximum)


# A text's UTF-8, which lives as long as the text; ASCII is read where it lies. Raises UnicodeEncodeError for surrogates.
cdef inline const char* utf8_of(str text, Py_ssize_t* size) except NULL:
    if PyUnicode_IS_COMPACT_ASCII(text):
        size[0] = PyUnicode_GET_LENGTH(text)
        return <const char*>PyUnicode_DATA(text)
    return PyUnicode_AsUTF8AndSize(text, size)


# The text of UTF-8; what is not UTF-8 goes as `errors` says, NULL is "strict". Most text is ASCII, and then what
# CPython's decoder does beside copying costs more than the copy. It keeps texts of one character, so they are its own.
cdef inline str text_of(const char* data, Py_ssize_t size, const char* errors):
    cdef str text
    if size > 1 and is_ascii(data, <size_t>size):
        text = PyUnicode_New(size, 127)
        memcpy(PyUnicode_DATA(text), data, <size_t>size)
        return text
    return <str>PyUnicode_DecodeUTF8(data, size, errors)
