# cython: freethreading_compatible=True
"""What is owed once an exchange is over: the clean-up of dependencies."""

cimport cython

from fastnet_ext.exchange.exchange cimport Exchange, LoopLocal, Observer

__all__ = ["executor_of", "spawn", "when_done"]


@cython.final
cdef class _WhenDone(Observer):
    cdef object callback

    def __init__(self, callback):
        self.callback = callback

    cdef int on_done(self, Exchange x) except -1:
        self.callback()
        return 0


def when_done(Exchange exchange not None, callback not None):
    """Call ``callback()`` once the answer is complete or given up; at once when it is already."""
    if exchange.finished:
        callback()
    else:
        exchange.observers = (exchange.observers or ()) + (_WhenDone(callback),)


def spawn(Exchange exchange not None, coroutine not None):
    """Run a coroutine beside requests; a drain waits for it. Returns its Task."""
    cdef LoopLocal local = exchange.connection.local
    task = local.loop.create_task(coroutine)
    # A loop keeps only weak references to its Tasks.
    local.tasks.add(task)
    task.add_done_callback(local.tasks.discard)
    return task


def executor_of(Exchange exchange not None):
    """The pool that runs ``def`` callables: ``submit(call, *args)``; None when there is none."""
    return exchange.connection.local.executor
