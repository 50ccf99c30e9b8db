# cython: freethreading_compatible=True
"""Runs async handlers: the first step at once, in a real asyncio Task that is used again.

Creating a Task for each request costs more than parsing and answering it. A runner is a Task
that outlives its request: parked, it waits on a future of its own (itself). The callback that brings
a request makes the first step in its place, with that Task current and its context entered, as
asyncio's eager Tasks do; only a coroutine that really waits is handed over to it. A runner is used again only when nothing could tell:

* its handler never suspended (so whoever keyed something by the Task saw one Task per request),
* the context variables are what they were before,
* nobody asked for its cancellation.
"""

cimport cython
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

import asyncio
import contextvars
import logging

from fastnet_ext.core.debug cimport DEBUG, LIVE_RUNNER, born, died, invariant
from fastnet_ext.exchange.describe cimport describe
from fastnet_ext.exchange.exchange cimport Endpoint, Exchange, LoopLocal, Responder
from fastnet_ext.exchange.request cimport Call, request_id


cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    PySendResult PyIter_Send(object iterator, object value, PyObject** result) noexcept
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    bint PyCFunction_Check(object of) noexcept
    PyObject* PyCFunction_GET_SELF(object function) noexcept


# Runners kept parked while handlers suspend, so that the next requests still start at once.
cdef int READY = 8

# One name for all, since each of asyncio's own is a string that lives as long as its Task.
cdef str TASK_NAME = "fastnet handler"

# What a coroutine waits for that yields nothing, as asyncio.sleep(0) does: the next turn of the loop.
cdef object A_TURN = object()

# In C in CPython's asyncio; what its Tasks and eager Tasks call themselves.
cdef object enter_task = asyncio.tasks._enter_task
cdef object leave_task = asyncio.tasks._leave_task

cdef object log = logging.getLogger("fastnet.error")

# The exchange that a context belongs to, where no Task of ours tells: in threads, and what inherits from
# `bind_request`. Setting it for every request would cost more than the Task saves.
cdef object BOUND = contextvars.ContextVar("fastnet_request", default=None)

# The LoopLocal whose callbacks run in this context.
cdef object LOCAL = contextvars.ContextVar("fastnet_loop", default=None)


cdef class AsyncEndpoint(Endpoint):
    cdef int start_now(self, Exchange x) except -1:
        raise NotImplementedError

    cdef object on_result(self, Exchange x, object value):
        return None

    cdef object on_exception(self, Exchange x, object error):
        return None


@cython.final
cdef class CancelTask(Responder):
    def __init__(self, task):
        self.task = task

    cdef int on_gone(self, Exchange x, int why) except -1:
        self.task.cancel()
        return 0


@cython.final
@cython.freelist(16)
cdef class Runner:
    """Coroutine and future of one parked Task; not made by users."""

    def __cinit__(self):
        born(LIVE_RUNNER)

    def __dealloc__(self):
        died(LIVE_RUNNER)

    def __init__(self, RunnerPool pool):
        self.pool = pool
        self._asyncio_future_blocking = False

    # --- the coroutine protocol, for the Task

    def __next__(self):
        cdef object yielded = self.yielded
        if yielded is not None:
            # A step was made in place: the Task takes over with what it waits for.
            self.yielded = None
            return None if yielded is A_TURN else yielded
        if self.coroutine is None:
            # The first turn of a runner made in advance, or the end of one that is used up.
            if self.wakeup is None and not self.retired:
                self.pool.starting -= 1
            return self._settle(STEP_OVER if self.retired or self.pool.closed else STEP_IDLE)
        return self._settle(self._step())

    def __iter__(self):
        return self

    def __await__(self):
        return self

    def send(self, value):
        return self.__next__()

    def throw(self, error, value=None, traceback=None):
        if isinstance(error, type):
            error = error() if value is None else value
        self.yielded = None
        if self.coroutine is None:
            self._leave()
            raise error
        try:
            result = self.coroutine.throw(error)
        except StopIteration as stop:
            return self._settle(self._outcome(stop.value, None))
        except BaseException as raised:
            return self._settle(self._outcome(None, raised))
        self.suspended = True
        return result

    def close(self):
        coroutine, self.coroutine = self.coroutine, None
        self._leave()
        if coroutine is not None:
            coroutine.close()

    cdef object _settle(self, Step step):
        """What the Task is told after a step."""
        cdef object result = self.yielded
        if step == STEP_WAITS:
            self.yielded = None
            return None if result is A_TURN else result
        if step == STEP_IDLE:
            if DEBUG:
                # What is parked holds nothing of its last job.
                invariant(self.coroutine is None and self.endpoint is None and self.exchange is None)
                invariant(self.yielded is None and self.failure is None and not self.cleaning)
            self.pool.parked.append(self)
            self._asyncio_future_blocking = True
            return self
        result, self.failure = self.failure, None
        self._leave()
        if result is not None:
            raise result
        raise StopIteration

    # --- for whoever looks on

    @property
    def job(self):
        """The coroutine that it runs; None while it is parked."""
        return self.coroutine

    def describe(self):
        """The request that it answers, as a dict; None while it is parked."""
        cdef Exchange x = self.exchange
        return None if x is None else describe(x, self.pool.local.loop.time())

    # --- the work

    cdef Step _step(self) except STEP_RAISED:
        """Step the coroutine, and those that follow it, as far as it goes."""
        cdef PyObject* raw = NULL
        cdef PySendResult status
        cdef object result
        status = PyIter_Send(self.coroutine, None, &raw)
        if status == PYGEN_ERROR:
            try:
                raise_current()
            except BaseException as error:
                return self._outcome(None, error)
        result = <object>raw
        Py_DECREF(result)
        if status == PYGEN_NEXT:
            self.yielded = A_TURN if result is None else result
            if not self.suspended:
                self.suspended = True
                self.pool.replenish(READY)
            return STEP_WAITS
        return self._outcome(result, None)

    cdef bint resume(self, object waited_for) except -1:
        cdef LoopLocal local = self.pool.local
        cdef object task = self.task
        cdef object context = self.context
        cdef Step step
        # As the Task's own step would: it is current, its context is entered.
        enter_task(local.loop, task)
        PyContext_Enter(context)
        try:
            step = self._step()
        finally:
            PyContext_Exit(context)
            leave_task(local.loop, task)
        if step == STEP_WAITS and self.yielded is waited_for:
            self.yielded = None
            return True
        self.retired = step != STEP_WAITS
        return False

    cdef Step _outcome(self, object value, object error) except STEP_RAISED:
        """The coroutine is done: go on with another one, or say what becomes of the runner."""
        cdef AsyncEndpoint endpoint = self.endpoint
        cdef object following = None
        self.coroutine = None
        if self.cleaning:
            self.cleaning = False
            if isinstance(error, Exception):
                log.error("the clean-up of a dependency failed: %r", self.exchange.route, exc_info=error)
        else:
            try:
                if error is None:
                    following = endpoint.on_result(self.exchange, value)
                else:
                    following = endpoint.on_exception(self.exchange, error)
            except Exception:
                log.exception("an answer failed after its handler was done")
            if following is None and self.exchange.cleanups is not None:
                following = self.exchange.cleanups(error)
                self.exchange.cleanups = None
                self.cleaning = True
        if error is not None and isinstance(error, (KeyboardInterrupt, SystemExit, asyncio.CancelledError)):
            self.failure = error
        if following is not None:
            self.coroutine = following
            return self._step()
        self.endpoint = None
        self.exchange = None
        if self.failure is not None:
            return STEP_OVER
        return STEP_IDLE if self._reusable() else STEP_OVER

    cdef bint _reusable(self) except -1:
        cdef RunnerPool pool = self.pool
        return (
            not self.suspended
            and not self.cancel_requested
            and pool.eager
            and not pool.closed
            and PyList_GET_SIZE(pool.parked) < pool.limit
            and self.context == pool.base_context
        )

    cdef int _leave(self) except -1:
        """Never to be parked again: give up the references that form cycles with the Task."""
        self.retired = True
        self.task = None
        self.wakeup = None
        self.endpoint = None
        self.exchange = None
        self.yielded = None
        return 0

    # --- the future protocol, for the Task that is parked on us

    @cython.binding(False)
    def get_loop(self):
        return self.pool.local.loop

    @cython.binding(False)
    def add_done_callback(self, callback, *, context=None):
        self.wakeup = callback

    def remove_done_callback(self, callback):
        self.wakeup = None
        return 1

    def done(self):
        return self.cancel_requested

    @cython.binding(False)
    def result(self):
        if self.cancel_requested:
            raise asyncio.CancelledError()
        return None

    def cancel(self, msg=None):
        """Task.cancel() reached a runner: wake its Task with CancelledError, or let its first step see to it."""
        if self.cancel_requested or self.wakeup is None:
            return False
        self.cancel_requested = True
        if not self.stepping:
            if self in self.pool.parked:
                self.pool.parked.remove(self)
            self.pool.local.loop.call_soon(self.wakeup, self, context=self.context)
        return True


def executor_of(Exchange exchange not None):
    """The pool that runs ``def`` callables for an exchange: ``submit(call, *args)``; None when there is none."""
    return exchange.connection.local.executor


cdef object context_on(LoopLocal local):
    cdef object context = contextvars.copy_context()
    context.run(LOCAL.set, local)
    return context


cdef object context_for(Exchange x):
    cdef object context = contextvars.copy_context()
    context.run(BOUND.set, x)
    return context


def context_of(Exchange exchange not None):
    """A copy of the current context for what runs in a thread on behalf of an exchange."""
    return context_for(exchange)


def bind_request(Call call not None):
    """Let the current context, and Tasks that it starts, know their request; returns what ``unbind_request`` takes."""
    return BOUND.set(call.x)


def unbind_request(token):
    """Undo ``bind_request``."""
    BOUND.reset(token)


cdef Exchange exchange_here():
    """That whose handler is running here, in its Task or in a thread; None outside of one."""
    cdef Exchange x = BOUND.get()
    cdef LoopLocal local
    if x is None:
        local = LOCAL.get()
        # Threads that have a copy of the context are not what the loop is at.
        if local is not None and asyncio._get_running_loop() is local.loop:
            x = current_exchange(local)
    return x


def current_request_id():
    """The id of the request whose handler is running here, in its Task or in a thread; None outside of one."""
    cdef Exchange x = exchange_here()
    return None if x is None else request_id(x)


def current_context():
    """A copy of the current context for a Task that works for the request whose handler is running here."""
    cdef Exchange x = exchange_here()
    return contextvars.copy_context() if x is None else context_for(x)


cdef int raise_current() except -1:
    """The error indicator is set: let it out as an exception."""
    return -1


cdef class RunnerPool:
    """The runners of one event loop; ``limit`` is how many wait parked."""

    def __init__(self, LoopLocal local, *, int limit=256, bint eager=True):
        self.local = local
        self.limit = limit
        self.parked = []
        LOCAL.set(local)
        self.base_context = contextvars.copy_context()
        self.eager = eager and not local.loop.get_debug()

    cdef Runner run(self, AsyncEndpoint endpoint, Exchange x, object coroutine):
        cdef Runner runner
        cdef Step step = STEP_OVER
        cdef object task
        if not self.in_batch or PyList_GET_SIZE(self.parked) == 0:
            return self._spawn(endpoint, x, coroutine, self.base_context.copy())
        runner = <Runner>self.parked.pop()
        runner.endpoint = endpoint
        runner.exchange = x
        runner.coroutine = coroutine
        task = runner.task
        # As the Task's own step would: it is current, its context is entered. What starts further
        # requests in here gets Tasks of their own.
        self.in_batch = False
        enter_task(self.local.loop, task)
        PyContext_Enter(runner.context)
        runner.stepping = True
        try:
            step = runner._step()
        finally:
            runner.stepping = False
            PyContext_Exit(runner.context)
            leave_task(self.local.loop, task)
            self.in_batch = True
        if step == STEP_IDLE and not runner.cancel_requested:
            self.parked.append(runner)
        else:
            runner.retired = step != STEP_WAITS
            self._hand_over(runner)
        return runner

    cdef int start_together(self, AsyncEndpoint endpoint, Exchange x) except -1:
        if self.together is None:
            self.together = []
            self.local.loop.call_soon(self._begin_together)
        self.together.append((endpoint, x))
        return 0

    def _begin_together(self):
        cdef LoopLocal local = self.local
        cdef AsyncEndpoint endpoint
        cdef Exchange x
        together, self.together = self.together, None
        self.in_batch = True
        try:
            for endpoint, x in together:
                if not x.gone and not x.ended:
                    local.starting = x
                    endpoint.start_now(x)
        finally:
            local.starting = None
            self.in_batch = False

    cdef int _hand_over(self, Runner runner) except -1:
        """Let the Task take over: it waits for what its coroutine waits for, or ends."""
        cdef object context = runner.context
        cdef object wakeup = runner.wakeup
        PyContext_Enter(context)
        try:
            wakeup(runner)
        finally:
            PyContext_Exit(context)
        if runner.suspended:
            # The Task waits for something else now, and never for this runner again.
            runner.wakeup = None
        return 0

    cdef Runner _spawn(self, AsyncEndpoint endpoint, Exchange x, object coroutine, object context):
        cdef Runner runner = Runner(self)
        runner.endpoint = endpoint
        runner.exchange = x
        runner.coroutine = coroutine
        runner.context = context
        runner.task = asyncio.Task(runner, loop=self.local.loop, name=TASK_NAME, context=runner.context)
        runner.task._log_destroy_pending = False
        if coroutine is None:
            self.starting += 1
        return runner

    cdef int replenish(self, int count) except -1:
        if self.eager and not self.closed:
            while len(self.parked) + self.starting < count:
                self._spawn(None, None, None, self.base_context.copy())
        return 0

    def close(self):
        """Cancel the parked runners. Running handlers end by themselves."""
        self.closed = True
        for runner in list(self.parked):
            (<Runner>runner).task.cancel()

    @property
    def idle(self):
        """How many runners wait for a job."""
        return len(self.parked)


cdef Exchange current_exchange(LoopLocal local):
    cdef Exchange x = local.starting
    cdef object task, coroutine
    if x is None:
        task = asyncio.current_task(local.loop)
        coroutine = None if task is None else task.get_coro()
        if isinstance(coroutine, Runner):
            x = (<Runner>coroutine).exchange
    return x


cdef Runner runner_behind(object wakeup, Runner known):
    cdef object task, coroutine
    if not PyCFunction_Check(wakeup) or PyCFunction_GET_SELF(wakeup) is NULL:
        return None     # of a Task in Python
    task = <object>PyCFunction_GET_SELF(wakeup)
    if known is None or known.task is not task:
        coroutine = task.get_coro() if isinstance(task, asyncio.Task) else None
        known = <Runner>coroutine if isinstance(coroutine, Runner) else None
    return known if known is not None and known.coroutine is not None else None


cdef bint is_at_work(object coroutine, RunnerPool pool) except -1:
    return isinstance(coroutine, Runner) and (<Runner>coroutine).pool is pool and (<Runner>coroutine).coroutine is not None
