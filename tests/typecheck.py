"""What the hook in `tests/conftest.py` puts around every function of the modules that it checks."""

from collections.abc import Callable
from typing import TypeVar

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

F = TypeVar("F", bound=Callable)

_strict = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float, as PEP 484 has it


def typecheck(function: F) -> F:
    """Return a function whose calls are held to its annotations, or the function itself where they cannot be.

    The hook decorates functions one by one, so that `Self` has no class; and a Protocol can be asked for at run time
    only where it says so.
    """
    try:
        return _strict(function)
    except BeartypeDecorHintException:
        return function
