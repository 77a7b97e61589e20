"""Public keys as Python users hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from edgesentry._typing import Scheme


@final
class PublicKey(str):
    """A public key, 64 hex digits, that knows what its signatures cover.

    Key rings and ledgers that are not told a scheme take that of the key.

    Args:
        key: 64 hex digits.
        scheme: What its signatures cover.
    """

    __slots__ = ("_scheme",)
    __module__ = "edgesentry"
    _scheme: Scheme

    def __new__(cls, key: str, scheme: Scheme) -> PublicKey:
        public_key = super().__new__(cls, key)
        public_key._scheme = scheme
        return public_key

    @property
    def scheme(self) -> Scheme:
        """What its signatures cover."""
        return self._scheme

    def __getnewargs__(self) -> tuple[str, Scheme]:  # type: ignore[override]
        return str(self), self._scheme
