# cython: freethreading_compatible=True
"""Sends one message to many WebSocket connections; hub.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE

from collections import deque

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.exchange.limits cimport LIMIT_SLOW
from fastnet_ext.serve.websocket cimport WebSocket
from fastnet_ext.serve.websocket_driver cimport Follower, SharedMessage, WebSocketDriver

__all__ = ["Rooms"]

cdef dict POLICIES = {"drop_oldest": SLOW_DROP_OLDEST, "drop_new": SLOW_DROP_NEW, "close": SLOW_CLOSE}

# TRY_AGAIN_LATER of the IANA registry of close codes.
cdef int TRY_AGAIN_LATER = 1013


@cython.final
cdef class Rooms:
    """The rooms of a hub: ``on_left(room, member)`` is called, in a turn of its own, when a connection in one ends.

    ``queue`` messages and ``queue_bytes`` bytes may wait for a peer that is slow; ``slow`` says what becomes of more:
    "drop_oldest", "drop_new" or "close" (1013). Raises ``ValueError`` for others.
    """

    def __init__(self, on_left, *, Py_ssize_t queue=64, size_t queue_bytes=1024 * 1024, str slow="drop_oldest"):
        if slow not in POLICIES:
            raise ValueError(f"slow is {slow!r}: it is one of {', '.join(POLICIES)}")
        if queue < 1:
            raise ValueError("a queue has room for at least one message")
        self.rooms = {}
        self.on_left = on_left
        self.queue = queue
        self.queue_bytes = queue_bytes
        self.slow = POLICIES[slow]

    # --- who is where

    def join(self, WebSocket ws not None, str room not None, member):
        """Let a connection have what is sent to a room; False when it is there already.

        It answers the hand-shake where that was not done. Raises ``WebSocketDisconnect`` when the connection is closed.
        """
        cdef WebSocketDriver driver = ws.driver
        cdef Subscriber subscriber
        if not driver.accepted:
            ws._open()
        if driver.close_code:
            raise driver.disconnect()
        subscriber = self._subscriber(ws)
        if subscriber is None:
            subscriber = Subscriber.__new__(Subscriber)
            subscriber.hub = self
            subscriber.ws = ws
            subscriber.x = ws.x
            subscriber.rooms = {}
            if driver.followers is None:
                driver.followers = []
            driver.followers.append(subscriber)
        if room in subscriber.rooms:
            return False
        subscriber.rooms[room] = member
        members = self.rooms.get(room)
        if members is None:
            members = self.rooms[room] = {}
        members[subscriber] = member
        return True

    def leave(self, WebSocket ws not None, str room not None):
        """Its member, None when the connection was not there. What waits for it is sent all the same."""
        cdef Subscriber subscriber = self._subscriber(ws)
        cdef object member
        if subscriber is None or room not in subscriber.rooms:
            return None
        member = subscriber.rooms.pop(room)
        self._discard(subscriber, room)
        if not subscriber.rooms and subscriber.waiting is None:
            ws.driver.followers.remove(subscriber)
        return member

    def rooms_of(self, WebSocket ws not None):
        """The names of the rooms that a connection is in, and its member there."""
        cdef Subscriber subscriber = self._subscriber(ws)
        return {} if subscriber is None else dict(subscriber.rooms)

    def members(self, str room not None):
        """The members of a room, in the order of their joining."""
        return list(self.rooms.get(room, {}).values())

    @property
    def names(self):
        """The names of the rooms in which somebody is."""
        return list(self.rooms)

    cdef Subscriber _subscriber(self, WebSocket ws):
        if ws.driver.followers is not None:
            for follower in ws.driver.followers:
                if isinstance(follower, Subscriber) and (<Subscriber>follower).hub is self:
                    return <Subscriber>follower
        return None

    cdef int _discard(self, Subscriber subscriber, str room) except -1:
        cdef dict members = self.rooms[room]
        del members[subscriber]
        if not members:
            del self.rooms[room]
        return 0

    # --- what is sent there

    def broadcast(self, str room not None, SharedMessage message not None, WebSocket exclude=None):
        """Send a message to everybody in a room but ``exclude``; to how many."""
        cdef dict members = self.rooms.get(room)
        cdef Subscriber subscriber
        cdef Py_ssize_t reached = 0
        if members is None:
            return 0
        # A copy: a connection that turns out to be broken, or is closed for being slow, leaves.
        for subscriber in list(members):
            if subscriber.ws is not exclude:
                reached += subscriber.deliver(message)
        return reached

    @property
    def counters(self):
        """Messages to single connections that were sent or dropped, and connections closed for being slow."""
        return {"sent": self.sent, "dropped": self.dropped, "closed": self.closed}


@cython.final
cdef class Subscriber(Follower):
    """One connection in the rooms of one hub."""

    cdef int deliver(self, SharedMessage message) except -1:
        cdef WebSocketDriver driver = self.ws.driver
        if driver.close_code:
            return 0
        if self.waiting or driver.congested:
            return self._wait(driver, message)
        driver.send_shared(self.x, message)
        self.hub.sent += 1
        return 1

    cdef int _wait(self, WebSocketDriver driver, SharedMessage message) except -1:
        """Keep it until the peer takes output again, or do what the policy says."""
        cdef Rooms hub = self.hub
        cdef size_t size = PyBytes_GET_SIZE(message.payload)
        cdef SharedMessage oldest
        if self.waiting is None:
            self.waiting = deque()
        while len(self.waiting) >= hub.queue or self.held + size > hub.queue_bytes:
            if hub.slow == SLOW_CLOSE:
                hub.closed += 1
                self.x.connection.over_limit(LIMIT_SLOW, <double>hub.queue, TRY_AGAIN_LATER)
                driver.close(self.x, TRY_AGAIN_LATER, "too slow for what is sent")
                return 0
            hub.dropped += 1
            if hub.slow == SLOW_DROP_NEW or not self.waiting:
                return 0
            oldest = <SharedMessage>self.waiting.popleft()
            self._hold(driver, -PyBytes_GET_SIZE(oldest.payload))
        self.waiting.append(message)
        self._hold(driver, size)
        return 1

    cdef int _hold(self, WebSocketDriver driver, Py_ssize_t size) except -1:
        self.held += size
        driver.backlog += size
        return driver._note_held(self.x)

    cdef int on_room(self, Exchange x) except -1:
        cdef WebSocketDriver driver = self.ws.driver
        cdef SharedMessage message
        while self.waiting and not driver.congested and not driver.close_code:
            message = <SharedMessage>self.waiting.popleft()
            self._hold(driver, -PyBytes_GET_SIZE(message.payload))
            driver.send_shared(x, message)
            self.hub.sent += 1
        if not self.waiting:
            self.waiting = None
            if not self.rooms and driver.followers is not None:
                driver.followers.remove(self)
        return 0

    cdef int on_closed(self, Exchange x) except -1:
        cdef dict rooms = self.rooms
        cdef object loop = x.connection.local.loop
        self.rooms = {}
        self.waiting = None
        self._hold(self.ws.driver, -<Py_ssize_t>self.held)
        for room, member in rooms.items():
            self.hub._discard(self, room)
            loop.call_soon(self.hub.on_left, room, member)
        return 0
