"""The step that runs an async handler: its first part at once, in a real asyncio Task."""

from fastnet_ext.core.flag cimport flag
from fastnet_ext.exchange.exchange cimport Endpoint, Exchange, LoopLocal, Responder


cdef enum Step:
    # Where a step has left a runner.
    STEP_RAISED = -1
    STEP_WAITS      # its coroutine waits for `yielded`
    STEP_IDLE       # done, and may be parked
    STEP_OVER       # done, and the Task ends, with `failure` if there is one


cdef class AsyncEndpoint(Endpoint):
    """An endpoint whose work is a coroutine run by a runner."""

    # What `start` left to `RunnerPool.start_together`.
    cdef int start_now(self, Exchange x) except -1
    # The coroutine returned `value`. Returns the coroutine to go on with, None when all is done.
    cdef object on_result(self, Exchange x, object value)
    # The coroutine raised. The same choice; raising is a mistake of ours and is logged.
    cdef object on_exception(self, Exchange x, object error)


cdef class CancelTask(Responder):
    """Cancels the Task that answers as soon as nobody can receive the answer."""

    cdef object task


cdef class Runner:
    """The coroutine of one asyncio Task that runs one coroutine after the other.

    Between two it is *parked*: the Task waits on the runner itself, which poses as the future it
    waits for. Whoever brings a coroutine makes its first step in place of the Task, which is made
    current for it: `asyncio.current_task`, timeouts, cancellation and context variables are the
    real ones, and a coroutine that never waits costs neither a Task nor a turn of the loop. One
    that does wait is handed over to the Task, which goes on as any other.
    """

    # --- who it is
    cdef RunnerPool pool
    cdef object task
    cdef object context         # the Task's contextvars.Context
    cdef object wakeup          # the Task's callable, given to us by add_done_callback while parked

    # --- what it does; set together, None while parked
    cdef object coroutine
    cdef AsyncEndpoint endpoint
    cdef Exchange exchange
    cdef object yielded         # what it waits for, on its way to the Task
    cdef object failure         # what the Task ends with: CancelledError, KeyboardInterrupt …
    cdef flag suspended         # the current coroutine has really waited
    cdef flag cleaning          # the coroutine is the clean-up of what its dependencies left open
    cdef flag stepping          # its first step is being made, in place of the Task's
    cdef flag retired           # never to be parked again

    # --- the future the Task sees
    cdef flag cancel_requested
    cdef public object _asyncio_future_blocking

    # What the coroutine waits for has come: step it in place of the Task, which waits for the same. Whether it waits
    # for that again; otherwise the Task has to be woken, and goes on from where this left the runner.
    cdef bint resume(self, object waited_for) except -1
    cdef Step _step(self) except STEP_RAISED
    cdef Step _outcome(self, object value, object error) except STEP_RAISED
    cdef object _settle(self, Step step)
    cdef bint _reusable(self) except -1
    cdef int _leave(self) except -1


cdef class RunnerPool:
    """The parked runners of one event loop."""

    cdef LoopLocal local
    cdef list parked
    cdef object base_context    # what a runner's context must still equal to be used again
    cdef readonly int limit     # parked runners kept
    cdef int starting           # runners on their way to being parked
    cdef bint closed
    cdef bint eager             # off in asyncio's debug mode: plain tasks
    # Set by `net` while it handles input: no task is current, so a step may run at once.
    cdef bint in_batch
    cdef list together          # exchanges to be begun in this turn, and their endpoints; None when there are none

    # Run a coroutine for an exchange; at once when that is possible. The runner may be done.
    cdef Runner run(self, AsyncEndpoint endpoint, Exchange x, object coroutine)
    cdef int _hand_over(self, Runner runner) except -1
    # In a Task of its own, with that contextvars.Context.
    cdef Runner _spawn(self, AsyncEndpoint endpoint, Exchange x, object coroutine, object context)
    # Call `endpoint.start_now(x)` together with others of this turn of the loop, once all input at hand is read, and
    # before their answers are written. Frameworks in Python are large: between two system calls they would find the
    # processor's caches cold each time (docs/performance.md has figures).
    cdef int start_together(self, AsyncEndpoint endpoint, Exchange x) except -1
    # Have at least `count` runners parked by the next turn of the loop.
    cdef int replenish(self, int count) except -1


# What the loop of `local` is answering at this moment, seen from any thread; None when it is at something else.
cdef Exchange current_exchange(LoopLocal local)

# A copy of the current context in which `current_request_id` knows the loop.
cdef object context_on(LoopLocal local)

# A copy of the current context that knows its request: for what runs in another thread or outlives this step.
cdef object context_for(Exchange x)

# The runner whose Task is woken by `wakeup`, in the middle of a job; None when something else is. `known`: the answer
# of last time, which is most likely right.
cdef Runner runner_behind(object wakeup, Runner known)

# Whether `coroutine` is a runner of `pool` in the middle of a job.
cdef bint is_at_work(object coroutine, RunnerPool pool) except -1
