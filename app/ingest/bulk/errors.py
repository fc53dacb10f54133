"""What ends a bulk ingestion as a whole."""

from __future__ import annotations

from typing import Any


class BulkError(RuntimeError):
    """Something that ends the run: `code` and a message for people. What was acknowledged is stored."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return BulkError, (self.code, str(self))


class ImagesLostError(BulkError):
    """Images that a worker handed to the driver are gone, with it most likely: then its piece is begun again."""

    def __init__(self, message: str) -> None:
        super().__init__("ray_failed", message)
