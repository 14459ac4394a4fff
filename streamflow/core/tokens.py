"""Whether a sink has an epoch already: the decision that every exactly-once sink takes inside its own transaction.

Pure: reading and writing the token is the sink's.
"""

from __future__ import annotations

from streamflow.core.connector import Token
from streamflow.errors import FencedError


def is_new(token: Token, stored: Token | None, sink: str) -> bool:
    """Return whether an epoch is still to be written, given the token that the sink has.

    Where the sink has this epoch or a later one the answer is no, and skipping it is right: its content was the same.

    Args:
        token: Of the epoch to be written.
        stored: What the sink has; None if it has nothing.
        sink: Its name, for the message.

    Raises:
        FencedError: If a worker that took over later, or a later generation, has written to the sink.

    >>> is_new(Token(1, 7), Token(1, 6), "alerts"), is_new(Token(1, 7), Token(1, 7), "alerts")
    (True, False)
    """
    if stored is None:
        return True
    if (stored.generation, stored.fence) > (token.generation, token.fence):
        raise FencedError(
            f"sink {sink!r} was written by generation {stored.generation}, fence {stored.fence};"
            f" this worker has generation {token.generation}, fence {token.fence}",
            remedy="another worker took over: stop this one",
        )
    return (token.generation, token.epoch, token.chunk) > (stored.generation, stored.epoch, stored.chunk)
