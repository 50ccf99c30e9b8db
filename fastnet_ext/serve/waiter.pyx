# cython: freethreading_compatible=True
"""A future without a result that is used for one wait after the other; waiter.pxd is the map."""

cimport cython

import asyncio

from fastnet_ext.serve.runner cimport Runner, RunnerPool, runner_behind


cdef extern from "Python.h":
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1


class _NoLoop:
    """The loop of a future that never calls one."""

    def get_debug(self):
        return False


cdef object done_future():
    future = asyncio.Future(loop=_NoLoop())
    future.set_result(None)
    return future


# What a Task is woken with unless it is cancelled: of a future of asyncio's own class it takes the result without a call,
# of any other it looks for `result` by that name, at 1,400 instructions (task_wakeup in CPython's
# Modules/_asynciomodule.c). Immutable: it is done, and nobody waits for it.
cdef object DONE = done_future()


cdef int wake_task(object wakeup, object outcome, object context) except -1:
    PyContext_Enter(context)
    try:
        wakeup(outcome)
    finally:
        PyContext_Exit(context)
    return 0


# It holds its Task while that waits, and whoever ends what it waits for wakes it: no work for the garbage collector.
@cython.no_gc
@cython.final
cdef class Waiter:
    """Made by the engine for whoever waits for a peer; handlers never see one."""

    def __init__(self, RunnerPool pool not None):
        self.pool = pool

    cdef Waiter wait(self):
        self.cancel_requested = False
        self.blocking = True
        return self

    cdef int wake(self, bint direct) except -1:
        cdef RunnerPool pool = self.pool
        cdef object wakeup = self.wakeup
        cdef object context = self.context
        cdef object outcome = self if self.cancel_requested else DONE
        if wakeup is None:
            return 0
        self.wakeup = self.context = None
        if not direct or not pool.in_batch or not pool.eager:
            pool.local.loop.call_soon(wakeup, outcome, context=context)
            return 0
        # Now a task is current: nothing may be stepped from within its step.
        pool.in_batch = False
        try:
            if outcome is DONE:
                self.runner = runner_behind(wakeup, self.runner)
                if self.runner is not None:
                    return self._resume(self.runner, wakeup, context)
            wake_task(wakeup, outcome, context)
        finally:
            pool.in_batch = True
        return 0

    cdef int _resume(self, Runner runner, object wakeup, object context) except -1:
        """Step the runner: a Task whose coroutine only waits for this again need not know, which is most of its cost."""
        cdef object task = runner.task
        cdef bint again
        self.stepping = True
        try:
            again = runner.resume(self)
        finally:
            self.stepping = False
        if again:
            self.blocking = False
            self.wakeup = wakeup
            self.context = context
        else:
            wake_task(wakeup, DONE, context)
        if self.cancelled_within:
            self.cancelled_within = False
            if again:
                self.cancel()
            else:
                # It counts as one request for asyncio.timeout and TaskGroup.
                task.uncancel()
                task.cancel()
        return 0

    cdef int abandon(self) except -1:
        self.wakeup = self.context = None
        return 0

    # --- the future protocol, for the Task; what each wait calls is bound as cheaply as possible

    @property
    def _asyncio_future_blocking(self):
        return self.blocking

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, bint blocking):
        self.blocking = blocking

    def get_loop(self):
        return self.pool.local.loop

    @cython.binding(False)
    def add_done_callback(self, callback, *, context=None):
        self.wakeup = callback
        self.context = context

    def remove_done_callback(self, callback):
        self.wakeup = None
        return 1

    def done(self):
        return self.wakeup is None

    def cancelled(self):
        return self.cancel_requested

    @cython.binding(False)
    def result(self):
        if self.cancel_requested:
            raise asyncio.CancelledError()
        return None

    def cancel(self, msg=None):
        """``Task.cancel()`` reached a waiting Task: step it with CancelledError."""
        if self.stepping:
            self.cancelled_within = True
            return True
        if self.wakeup is None:
            return False
        self.cancel_requested = True
        self.wake(False)
        return True
