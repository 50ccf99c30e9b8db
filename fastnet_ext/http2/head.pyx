# cython: freethreading_compatible=True
"""A header block of HPACK becomes a HeaderBlock, checked by the rules for HTTP messages.

The first rule that is broken decides; the rest of the block is decoded without being looked at.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from fastnet_ext.core.buffer cimport Buffer, buffer_append, buffer_free, buffer_init
from fastnet_ext.core.headers cimport (
    HEADER_CONNECTION,
    HEADER_CONTENT_LENGTH,
    HEADER_COOKIE,
    HEADER_HOST,
    HEADER_KEEP_ALIVE,
    HEADER_PROXY_CONNECTION,
    HEADER_TE,
    HEADER_TRANSFER_ENCODING,
    HEADER_UPGRADE,
    METHOD_CONNECT,
    METHOD_OPTIONS,
    METHOD_OTHER,
    Field,
    HeaderBlock,
    Span,
    find_method,
)
from fastnet_ext.http2.hpack cimport (
    HPACK_ERROR,
    HPACK_FIELD,
    HPACK_NO_MEMORY,
    HPACK_OVERHEAD,
    PSEUDO_AUTHORITY,
    PSEUDO_FIRST,
    PSEUDO_METHOD,
    PSEUDO_PATH,
    PSEUDO_PROTOCOL,
    PSEUDO_SCHEME,
    PSEUDO_STATUS,
    Hpack,
    HpackBlock,
    HpackField,
    hpack_begin,
    hpack_next,
)

# Which pseudo-header fields were seen, as bits 1 << (id - PSEUDO_FIRST).
cdef enum:
    SEEN_METHOD = 1 << 0
    SEEN_SCHEME = 1 << 1
    SEEN_AUTHORITY = 1 << 2
    SEEN_PATH = 1 << 3
    SEEN_PROTOCOL = 1 << 4
    SEEN_STATUS = 1 << 5
    OF_REQUEST = SEEN_METHOD | SEEN_SCHEME | SEEN_AUTHORITY | SEEN_PATH | SEEN_PROTOCOL


# What is known while a block is being read.
cdef struct Reading:
    const HeadRules* rules
    HeadFacts* facts
    uint32_t pseudo         # bits, see above
    uint32_t count          # fields other than pseudo-header fields
    uint32_t list_size      # as SETTINGS_MAX_HEADER_LIST_SIZE counts
    int host                # index of the Host field, -1
    int cookie              # index of the first Cookie field, -1
    Buffer crumbs           # the joined value when there are several


cdef inline int _store(HeaderBlock into, const char* data, uint32_t size, Span* span) except -1:
    if into.arena_capacity - into.size < size or into.arena is NULL:
        return into.store(data, size, span)
    memcpy(into.arena + into.size, data, size)
    span.offset = into.size
    span.size = size
    into.size += size
    return 0


cdef inline int _append(HeaderBlock into, const HpackField* field) except -1:
    cdef uint32_t size = field.name_size + field.value_size
    cdef Field* slot
    cdef char* to
    if into.count == into.capacity or into.arena_capacity - into.size < size:
        return into.append(field.name, field.name_size, field.value, field.value_size, field.id)
    slot = &into.fields[into.count]
    to = into.arena + into.size
    memcpy(to, field.name, field.name_size)
    memcpy(to + field.name_size, field.value, field.value_size)
    slot.name.offset = into.size
    slot.name.size = field.name_size
    slot.value.offset = into.size + field.name_size
    slot.value.size = field.value_size
    slot.id = field.id
    into.size += size
    into.count += 1
    return 0


cdef Verdict _pseudo(Reading* reading, const HpackField* field, HeaderBlock into) except? VERDICT_MALFORMED:
    """RFC 9113, section 8.3: the right ones, each once, before all other fields."""
    cdef uint32_t bit = <uint32_t>1 << (field.id - PSEUDO_FIRST)
    cdef uint32_t allowed = 0
    if reading.rules.kind == HEAD_OF_REQUEST:
        allowed = <uint32_t>OF_REQUEST
        if not reading.rules.extended_connect:
            allowed ^= <uint32_t>SEEN_PROTOCOL
    elif reading.rules.kind == HEAD_OF_RESPONSE:
        allowed = <uint32_t>SEEN_STATUS
    if reading.count or not bit & allowed or bit & reading.pseudo:
        return VERDICT_MALFORMED
    reading.pseudo |= bit
    if field.id == PSEUDO_METHOD:
        into.method = find_method(field.value, field.value_size)
        if into.method == METHOD_OTHER and not method_ok(field.value, field.value_size):
            return VERDICT_MALFORMED
        _store(into, field.value, field.value_size, &into.method_name)
    elif field.id == PSEUDO_PATH:
        if not path_ok(field.value, field.value_size):
            return VERDICT_MALFORMED
        _store(into, field.value, field.value_size, &into.target)
    elif field.id == PSEUDO_SCHEME:
        if not scheme_ok(field.value, field.value_size):
            return VERDICT_MALFORMED
        _store(into, field.value, field.value_size, &into.scheme)
    elif field.id == PSEUDO_AUTHORITY:
        if not authority_ok(field.value, field.value_size):
            return VERDICT_MALFORMED
        _store(into, field.value, field.value_size, &into.authority)
    elif field.id == PSEUDO_PROTOCOL:
        if not method_ok(field.value, field.value_size):
            return VERDICT_MALFORMED
        _store(into, field.value, field.value_size, &reading.facts.protocol)
    else:
        # 101 belongs to HTTP/1.1 (section 8.6).
        into.status = parse_status(field.value, field.value_size)
        if into.status == 0 or into.status == 101:
            return VERDICT_MALFORMED
    return VERDICT_GOOD


cdef bint _forbidden(const HpackField* field) noexcept nogil:
    """Fields that belong to a connection (RFC 9113, section 8.2.2)."""
    if field.id == HEADER_TE:
        return not equal_nocase(field.value, field.value_size, b"trailers", 8)
    return (
        field.id == HEADER_CONNECTION or field.id == HEADER_TRANSFER_ENCODING or field.id == HEADER_KEEP_ALIVE
        or field.id == HEADER_UPGRADE or field.id == HEADER_PROXY_CONNECTION
    )


cdef int _crumb(Reading* reading, const HpackField* field, HeaderBlock into) except -1:
    """One more piece of the Cookie field (RFC 9113, section 8.2.3), to be joined with "; "; empty ones are left out."""
    cdef Span first = into.fields[reading.cookie].value
    if field.value_size == 0:
        return 0
    if reading.crumbs.size == 0 and buffer_append(&reading.crumbs, into.at(first), first.size) < 0:
        raise MemoryError()
    if reading.crumbs.size and buffer_append(&reading.crumbs, b"; ", 2) < 0:
        raise MemoryError()
    if buffer_append(&reading.crumbs, field.value, field.value_size) < 0:
        raise MemoryError()
    return 0


cdef Verdict _regular(Reading* reading, const HpackField* field, HeaderBlock into) except? VERDICT_MALFORMED:
    reading.count += 1
    if reading.count > reading.rules.field_limit:
        reading.facts.too_many = True
        return VERDICT_TOO_LARGE
    if field.id == 0:
        _append(into, field)
        return VERDICT_GOOD
    if _forbidden(field):
        return VERDICT_MALFORMED
    if field.id == HEADER_COOKIE:
        if reading.cookie >= 0:
            _crumb(reading, field, into)
            return VERDICT_GOOD
        reading.cookie = <int>into.count
    elif field.id == HEADER_CONTENT_LENGTH:
        if reading.facts.content_length >= 0:
            return VERDICT_MALFORMED
        reading.facts.content_length = parse_length(field.value, field.value_size)
        if reading.facts.content_length < 0:
            return VERDICT_MALFORMED
    elif field.id == HEADER_HOST and reading.rules.kind == HEAD_OF_REQUEST:
        if reading.host >= 0:
            return VERDICT_MALFORMED
        reading.host = <int>into.count
    _append(into, field)
    return VERDICT_GOOD


cdef bint _request_complete(Reading* reading, HeaderBlock into) noexcept:
    """RFC 9113, sections 8.3.1 and 8.5; RFC 8441, section 4."""
    cdef Span host
    cdef bint has_authority = (reading.pseudo & SEEN_AUTHORITY) != 0
    if reading.host >= 0:
        host = into.fields[reading.host].value
        if not has_authority:
            if not authority_ok(into.at(host), host.size):
                return False
            into.authority = host
        elif not equal_nocase(into.at(host), host.size, into.at(into.authority), into.authority.size):
            return False
    elif not has_authority:
        return False
    if into.method == METHOD_CONNECT and not reading.pseudo & SEEN_PROTOCOL:
        return has_authority and reading.pseudo == <uint32_t>(SEEN_METHOD | SEEN_AUTHORITY)
    if reading.pseudo & SEEN_PROTOCOL and (into.method != METHOD_CONNECT or not has_authority):
        return False
    if (~reading.pseudo) & (SEEN_METHOD | SEEN_SCHEME | SEEN_PATH):
        return False
    if into.at(into.target)[0] == c"/":
        return True
    return into.method == METHOD_OPTIONS and into.target.size == 1 and into.at(into.target)[0] == c"*"


cdef Verdict _field(Reading* reading, const HpackField* field, HeaderBlock into) except? VERDICT_MALFORMED:
    if reading.rules.kind == HEAD_DISCARDED:
        return VERDICT_GOOD
    # Sizes are below 2 ** 28 each, and the sum is below the limit before.
    reading.list_size += field.name_size + field.value_size + <uint32_t>HPACK_OVERHEAD
    if field.faults:
        return VERDICT_MALFORMED
    if reading.list_size > reading.rules.list_limit:
        return VERDICT_TOO_LARGE
    if field.id >= PSEUDO_FIRST:
        return _pseudo(reading, field, into)
    return _regular(reading, field, into)


cdef Verdict _finish(Reading* reading, HeaderBlock into) except? VERDICT_MALFORMED:
    cdef Span joined
    if reading.rules.kind == HEAD_OF_REQUEST and not _request_complete(reading, into):
        return VERDICT_MALFORMED
    if reading.rules.kind == HEAD_OF_RESPONSE and not reading.pseudo:
        return VERDICT_MALFORMED
    if reading.crumbs.size:
        into.store(reading.crumbs.data, <uint32_t>reading.crumbs.size, &joined)
        into.fields[reading.cookie].value = joined
    return VERDICT_GOOD


cdef int decode_head(
    Hpack* table, const char* data, size_t size, const HeadRules* rules, HeaderBlock into, HeadFacts* facts
) except -1:
    cdef Verdict verdict = VERDICT_GOOD
    cdef Reading reading
    cdef HpackBlock block
    cdef HpackField field
    cdef int result
    facts.content_length = -1
    facts.too_many = False
    facts.protocol = Span(0, 0)
    reading.rules = rules
    reading.facts = facts
    reading.pseudo = reading.count = reading.list_size = 0
    reading.host = reading.cookie = -1
    buffer_init(&reading.crumbs)
    hpack_begin(&block, data, size)
    try:
        while True:
            result = hpack_next(table, &block, &field)
            if result != HPACK_FIELD:
                break
            if verdict == VERDICT_GOOD:
                verdict = _field(&reading, &field, into)
        if result == HPACK_NO_MEMORY:
            raise MemoryError()
        if result == HPACK_ERROR:
            return VERDICT_UNDECODABLE
        if verdict == VERDICT_GOOD:
            verdict = _finish(&reading, into)
        return verdict
    finally:
        buffer_free(&reading.crumbs)
