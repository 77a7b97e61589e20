"""Public keys for Python users."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from edgesentry._typing import Scheme


@final
class PublicKey(str):
    """A public key, 64 hex digits, with the scheme of its signatures.

    Key rings and ledgers use this scheme by default.

    Args:
        key: 64 hex digits.
        scheme: The scheme of its signatures.
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
        """The scheme of its signatures."""
        return self._scheme

    def __getnewargs__(self) -> tuple[str, Scheme]:  # type: ignore[override]
        return str(self), self._scheme
