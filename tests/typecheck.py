"""What the hook in `tests/conftest.py` puts around every function of the modules that it checks."""

from beartype import BeartypeConf, beartype

typecheck = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float, as PEP 484 has it
