"""The comparison of two reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesentry._core import Findings


@dataclass(frozen=True, slots=True, repr=False)
class Difference:
    """The findings of two reports: `before.diff(after)`.

    Attributes:
        new: Findings of the later report only.
        gone: Findings of the earlier report only.
        same: Findings of both, as the later report has them.
    """

    new: Findings
    gone: Findings
    same: Findings

    def __repr__(self) -> str:
        return f"<Difference: {len(self.new)} new, {len(self.gone)} gone, {len(self.same)} same>"

    def _repr_html_(self) -> str:
        parts = {"New": self.new, "Gone": self.gone}
        tables = (f"<p>{name}</p>{part._repr_html_()}" for name, part in parts.items() if len(part))
        return f"<p>{len(self.new)} new, {len(self.gone)} gone, {len(self.same)} same</p>{''.join(tables)}"


Difference.__module__ = "edgesentry"
