"""How much the server takes and keeps."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of one server."""

    upload_bytes: int = 32 * 2**20
    """Of an image file."""
    upload_seconds: float = 60.0
    """In which a request must have arrived."""
    message_bytes: int = 64 * 2**10
    """Of any other request."""
    requests_per_minute: int = 30
    """Uploads and predictions of one client."""
    waiting: int = 8
    """Computations that wait for their turn; one runs at a time."""
    people: int = 48
    """Boxes of one image."""
    images: int = 16
    """Kept at the same time; the one that was not used for longest goes first."""
    keep_seconds: float = 600.0
    """After its last use an image is deleted with its results."""
