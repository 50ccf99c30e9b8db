"""Which workers are to be replaced: one at a time, so that the others serve meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from .children import Post

__all__ = ["RETRY", "Replacements"]

# Seconds until a replacement that failed is tried again.
RETRY: Final = 30.0


class Replacements:
    """The posts that wait for another worker; ``rolling`` while all of them get one, for new code or settings."""

    def __init__(self) -> None:
        self.rolling = False
        self._queue: deque[Post] = deque()
        self._retries: list[tuple[float, Post]] = []

    def add(self, post: Post) -> None:
        """Have the worker of a post replaced when its turn comes."""
        if post not in self._queue:
            self._queue.append(post)

    def roll(self, posts: Sequence[Post]) -> None:
        """Have all workers replaced."""
        self.rolling = True
        for post in posts:
            self.add(post)

    def clear(self) -> None:
        """Replace none any more."""
        self.rolling = False
        self._queue.clear()

    def next(self, posts: Sequence[Post]) -> Post | None:
        """The post that gets a successor now, if it is anybody's turn."""
        if any(post.successor is not None for post in posts):
            return None
        while self._queue:
            post = self._queue.popleft()
            if post not in posts:
                continue
            if post.current is not None:
                return post
            # Nothing to be gentle with. A worker that waits for its time gets it now.
            if post.start_at is not None:
                post.start_at = time.monotonic()
        return None

    def rolled(self, posts: Sequence[Post]) -> bool:
        """Whether all workers were replaced just now; said once."""
        done = self.rolling and not self._queue and all(post.is_ready and post.successor is None for post in posts)
        if done:
            self.rolling = False
        return done

    # --- what failed

    def retry(self, post: Post) -> None:
        """Try it again after a while."""
        self._retries.append((time.monotonic() + RETRY, post))

    @property
    def times(self) -> list[float]:
        """When something is due."""
        return [when for when, _ in self._retries]

    def look_after(self, now: float) -> None:
        """Add what is due."""
        for retry in [one for one in self._retries if now >= one[0]]:
            self._retries.remove(retry)
            self.add(retry[1])
