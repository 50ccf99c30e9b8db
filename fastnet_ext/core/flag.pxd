"""A truth value of one byte, for objects of which each connection has one: a field that is a `bint` takes four.

Objects are as small as their order allows: the small fields of one group stand last, those of the next first.
"""

cdef extern from *:
    ctypedef bint flag "_Bool"
