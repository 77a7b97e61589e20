"""The arithmetic of Ed25519 in plain integers (RFC 8032, section 5.1), for encodings of dishonest signers.

For tests only: it is slow, and its time depends on the secrets.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import NamedTuple

P = 2**255 - 19
"""The field: integers modulo P."""
L = 2**252 + 27742317777372353535851937790883648493
"""The order of the base point."""
D = -121665 * pow(121666, -1, P) % P
_ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
_SIGN_BIT = 1 << 255


class Point(NamedTuple):
    """A point of -x² + y² = 1 + d·x²·y²."""

    x: int
    y: int


IDENTITY = Point(0, 1)


def add(a: Point, b: Point) -> Point:
    """Returns the sum of two points, by the complete addition law."""
    cross = D * a.x * b.x * a.y * b.y % P
    x = (a.x * b.y + a.y * b.x) * pow(1 + cross, -1, P) % P
    y = (a.y * b.y + a.x * b.x) * pow(1 - cross, -1, P) % P
    return Point(x, y)


def multiply(scalar: int, point: Point) -> Point:
    """Returns a multiple of the point."""
    sum_ = IDENTITY
    while scalar:
        if scalar & 1:
            sum_ = add(sum_, point)
        point = add(point, point)
        scalar >>= 1
    return sum_


def encode(point: Point) -> bytes:
    """Returns the canonical encoding: y, with the lowest bit of x as the highest bit."""
    return (point.y | (point.x & 1) << 255).to_bytes(32, "little")


def decode(encoding: bytes) -> Point | None:
    """Returns the point of a canonical encoding; None if it encodes no point."""
    number = int.from_bytes(encoding, "little")
    sign, y = number >> 255, number & (_SIGN_BIT - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * _ROOT_OF_MINUS_ONE % P
    if x * x % P != square or (x == 0 and sign):
        return None
    return Point(P - x if x & 1 != sign else x, y)


def _point(y: int) -> Point:
    point = decode(y.to_bytes(32, "little"))
    assert point is not None
    return point


BASE = _point(4 * pow(5, -1, P) % P)


@cache
def torsion() -> tuple[Point, ...]:
    """Returns the eight points of small order: the multiples 0 to 7 of a point of order 8."""
    y = 2
    while True:
        point = decode(y.to_bytes(32, "little"))
        if point is not None:
            generator = multiply(L, point)
            if multiply(4, generator) != IDENTITY:
                return tuple(multiply(times, generator) for times in range(8))
        y += 1


def off_curve(encoding: bytes) -> bytes:
    """Returns an encoding near this one that is canonical but not of a point on the curve."""
    y = int.from_bytes(encoding, "little") & (_SIGN_BIT - 1)
    while decode((y % P).to_bytes(32, "little")) is not None:
        y += 1
    return (y % P).to_bytes(32, "little")


def secret_scalar(seed: bytes) -> int:
    """Returns the scalar of a seed."""
    number = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    return number & ~7 & (1 << 254) - 1 | 1 << 254


def public_key(seed: bytes) -> bytes:
    """Returns the public key of a seed."""
    return encode(multiply(secret_scalar(seed), BASE))


def sign(
    seed: bytes,
    message: bytes,
    *,
    nonce: int | None = None,
    torsion_part: Point = IDENTITY,
    r_encoding: bytes | None = None,
) -> bytes:
    """Returns a signature that satisfies [8](S·B - k·A - R) = 0 over R as encoded.

    Args:
        seed: The secret seed.
        message: The message to sign.
        nonce: The scalar of R; derived from seed and message if None, as in RFC 8032.
        torsion_part: A point of small order to add to R.
        r_encoding: The encoding of R; canonical if None.
    """
    if nonce is None:
        prefix = hashlib.sha512(seed).digest()[32:]
        nonce = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % L
    r = r_encoding or encode(add(multiply(nonce, BASE), torsion_part))
    scalar = secret_scalar(seed)
    key = encode(multiply(scalar, BASE))
    challenge = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L
    return r + ((nonce + challenge * scalar) % L).to_bytes(32, "little")
