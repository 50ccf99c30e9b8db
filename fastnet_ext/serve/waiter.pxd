"""The future that a handler waits on again and again: waiting for input allocates nothing."""

from fastnet_ext.core.flag cimport flag
from fastnet_ext.serve.runner cimport Runner, RunnerPool


cdef class Waiter:
    """What an awaitable yields to the Task that awaits it, as it would yield a Future.

    One Task waits at a time. A Waiter says only that it is time to look again: whoever wakes it
    leaves what it brings elsewhere, so that nothing is lost when the Task is cancelled meanwhile.
    """

    cdef RunnerPool pool

    # The Task's callable and its contextvars.Context; None when no Task waits, or it is woken already.
    cdef object wakeup
    cdef object context

    # Whose Task waited last, when that is one of ours: it can be stepped without its Task.
    cdef Runner runner

    cdef flag blocking              # `_asyncio_future_blocking`
    cdef flag cancel_requested
    cdef flag stepping              # the runner is being stepped, while its Task goes on waiting for this
    cdef flag cancelled_within      # the Task was cancelled meanwhile: by its own coroutine

    # What an awaitable returns from __next__ to wait.
    cdef Waiter wait(self)
    # The Task looks again. `direct`: called from on_data; while `net` handles a batch of input no task
    # is current, and the Task takes its step before this returns. Otherwise it is scheduled.
    cdef int wake(self, bint direct) except -1
    cdef int _resume(self, Runner runner, object wakeup, object context) except -1
    # The awaitable is given up without its Task.
    cdef int abandon(self) except -1
