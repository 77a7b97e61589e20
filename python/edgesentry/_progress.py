"""The progress bar of tqdm: a widget in a notebook, text elsewhere."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesentry._typing import Bar, BarFactory


def default_bar() -> BarFactory:
    """Returns the bar for `progress=True`.

    Raises:
        ImportError: tqdm is not installed.
    """
    try:
        with warnings.catch_warnings():
            # In a notebook without ipywidgets tqdm warns, and shows text.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm; run: pip install tqdm") from error
    factory: BarFactory = tqdm
    return factory


def open_bar(progress: bool | BarFactory | None, *, total: int | None, unit: str, name: str) -> Bar | None:
    """Returns a bar for work that Python counts; None without `progress`.

    Raises:
        ImportError: tqdm is not installed.
        TypeError: `progress` does not create bars.
    """
    if progress is None or progress is False:
        return None
    factory = default_bar() if progress is True else progress
    if not callable(factory):
        raise TypeError("progress must be True or a callable such as tqdm.auto.tqdm")
    return factory(total=total, unit=unit, unit_scale=True, desc=name)
