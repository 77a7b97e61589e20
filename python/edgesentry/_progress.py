"""The one progress bar: tqdm's, as a widget in a notebook and as text anywhere else."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesentry._typing import Bar, BarFactory


def default_bar() -> BarFactory:
    """The bar that `progress=True` stands for.

    Raises:
        ImportError: tqdm is not installed.
    """
    try:
        with warnings.catch_warnings():
            # A notebook without ipywidgets: text is all that tqdm can show there, and it shows it.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm; run: pip install tqdm") from error
    factory: BarFactory = tqdm
    return factory


def open_bar(progress: bool | BarFactory | None, *, total: int | None, unit: str, name: str) -> Bar | None:
    """A bar for work that is counted in Python; None where none is wanted.

    Raises:
        ImportError: tqdm is not installed.
        TypeError: `progress` makes no bars.
    """
    if progress is None or progress is False:
        return None
    factory = default_bar() if progress is True else progress
    if not callable(factory):
        raise TypeError("progress must be True or a callable such as tqdm.auto.tqdm")
    return factory(total=total, unit=unit, unit_scale=True, desc=name)
