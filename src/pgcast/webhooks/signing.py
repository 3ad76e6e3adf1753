"""Delivery ids and signatures: what a receiver knows a delivery, and its sender, by.

Source: the Standard Webhooks specification. Signed is `id.timestamp.body`; with several keys, for rotation, there are
several signatures with a space between.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def delivery_id(endpoint_key: str, history: int, position: str) -> str:
    """Return the id of a delivery: always the same for the same endpoint and the same first change.

    Args:
        endpoint_key: The endpoint's.
        history: The number of the history; the positions of one may come again, for other changes, in the next.
        position: Of the first change in the body; deliveries of one endpoint have no change in common.
    """
    return f"msg_{hashlib.sha256(f'{endpoint_key}/{history}/{position}'.encode()).hexdigest()[:32]}"


def signature_headers(identifier: str, timestamp_s: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Return the headers `webhook-id`, `webhook-timestamp` and, where there are keys, `webhook-signature`.

    Args:
        identifier: The delivery's id.
        timestamp_s: When this attempt is made, seconds since 1970-01-01 UTC.
        body: The body, as it is sent.
        keys: The newest first.
    """
    headers = {"webhook-id": identifier, "webhook-timestamp": str(timestamp_s)}
    if keys:
        signed = f"{identifier}.{timestamp_s}.".encode() + body
        headers["webhook-signature"] = " ".join(f"v1,{_sign(key, signed)}" for key in keys)
    return headers


def _sign(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
