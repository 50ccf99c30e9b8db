# cython: freethreading_compatible=True
"""Header fields as spans into an arena that the block owns."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from fastnet_ext.core.debug cimport DEBUG, LIVE_HEADER_BLOCK, born, died, invariant



@cython.final
@cython.freelist(64)
cdef class HeaderBlock:
    """The head of one message; ``HeaderBlock(fields)`` makes one from ``(name, value)`` byte pairs."""

    def __cinit__(self):
        self.fields = NULL
        self.arena = NULL
        self.count = self.capacity = 0
        self.size = self.arena_capacity = 0
        self.method_name = self.target = self.scheme = self.authority = Span(0, 0)
        self.method = METHOD_OTHER
        self.status = 0
        born(LIVE_HEADER_BLOCK)

    def __init__(self, fields=()):
        cdef bytes lowered, content
        for name, value in fields:
            lowered = bytes(name).lower()
            content = bytes(value)
            self.append(
                lowered, <uint32_t>len(lowered), content, <uint32_t>len(content),
                find_header_id(lowered, len(lowered)),
            )

    def __dealloc__(self):
        if DEBUG:
            self._check()
        free(self.fields)
        died(LIVE_HEADER_BLOCK)

    cdef void _check(self) noexcept:
        cdef uint32_t i
        cdef Field* field
        invariant(self.count <= self.capacity)
        invariant(self.size <= self.arena_capacity)
        for i in range(self.count):
            field = &self.fields[i]
            invariant(field.name.size <= self.size and field.name.offset <= self.size - field.name.size)
            invariant(field.value.size <= self.size and field.value.offset <= self.size - field.value.size)
            invariant(field.id < HEADER_COUNT)

    cdef int _allocate(self, uint32_t fields, uint32_t arena) except -1:
        cdef Field* memory = <Field*>malloc(fields * sizeof(Field) + arena)
        cdef char* bytes_after
        if memory == NULL:
            raise MemoryError()
        bytes_after = <char*>(memory + fields)
        if self.count:
            memcpy(memory, self.fields, self.count * sizeof(Field))
        if self.size:
            memcpy(bytes_after, self.arena, self.size)
        free(self.fields)
        self.fields = memory
        self.arena = bytes_after
        self.capacity = fields
        self.arena_capacity = arena
        return 0

    cdef int fill(self, const char* data, uint32_t size, const Field* fields, uint32_t count) except -1:
        cdef uint32_t i
        self.count = self.size = 0
        self._allocate(count, size)
        memcpy(self.arena, data, size)
        if count:
            memcpy(self.fields, fields, count * sizeof(Field))
        self.size = size
        self.count = count
        for i in range(count):
            lower_ascii(self.arena + fields[i].name.offset, fields[i].name.size)
        if DEBUG:
            self._check()
        return 0

    cdef int store(self, const char* data, uint32_t size, Span* span) except -1:
        cdef uint32_t need = self.size + size
        if need > self.arena_capacity:
            self._allocate(
                self.capacity if self.capacity else 16,
                max(need, 2 * self.arena_capacity, 512),
            )
        if size:
            memcpy(self.arena + self.size, data, size)
        span.offset = self.size
        span.size = size
        self.size = need
        return 0

    cdef int append(
        self, const char* name, uint32_t name_size, const char* value, uint32_t value_size, uint32_t id
    ) except -1:
        cdef Field* field
        if self.count == self.capacity:
            self._allocate(max(16, 2 * self.capacity), max(self.arena_capacity, 512))
        # `store` may move the fields: the slot is taken after it.
        cdef Span name_span, value_span
        self.store(name, name_size, &name_span)
        self.store(value, value_size, &value_span)
        field = &self.fields[self.count]
        field.name = name_span
        field.value = value_span
        field.id = id
        self.count += 1
        return 0

    cdef const Field* find(self, uint32_t id) noexcept:
        cdef uint32_t i
        for i in range(self.count):
            if self.fields[i].id == id:
                return &self.fields[i]
        return NULL

    cdef const Field* find_next(self, uint32_t id, const Field* after) noexcept:
        cdef uint32_t i
        for i in range(<uint32_t>(after - self.fields) + 1, self.count):
            if self.fields[i].id == id:
                return &self.fields[i]
        return NULL

    cdef const Field* find_name(self, const char* name, uint32_t size) noexcept:
        cdef uint32_t i
        for i in range(self.count):
            if self.fields[i].name.size == size and memcmp(self.arena + self.fields[i].name.offset, name, size) == 0:
                return &self.fields[i]
        return NULL

    cdef str text(self, Span span):
        return PyUnicode_DecodeLatin1(self.arena + span.offset, span.size, NULL)

    cdef bytes raw(self, Span span):
        return PyBytes_FromStringAndSize(self.arena + span.offset, span.size)

    cdef str joined(self, uint32_t id):
        cdef const Field* field = self.find(id)
        cdef const Field* another
        cdef list values
        if field is NULL:
            return None
        another = self.find_next(id, field)
        if another is NULL:
            return self.text(field.value)
        values = [self.text(field.value)]
        while another is not NULL:
            values.append(self.text(another.value))
            another = self.find_next(id, another)
        return ("; " if id == HEADER_COOKIE else ", ").join(values)

    def __len__(self):
        return self.count

    def items(self):
        """The fields in order, as a list of ``(name, value)`` byte pairs; names in lower case."""
        cdef uint32_t i
        return [(self.raw(self.fields[i].name), self.raw(self.fields[i].value)) for i in range(self.count)]

    @property
    def start(self):
        """The start line as a dict of bytes: what the sans-I/O tests look at."""
        return {
            "method": self.raw(self.method_name),
            "target": self.raw(self.target),
            "scheme": self.raw(self.scheme),
            "authority": self.raw(self.authority),
            "status": self.status,
        }
