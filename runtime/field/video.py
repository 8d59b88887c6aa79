"""Films of fields: the one writer of films, under the name that this room has for it."""

from runtime.film import CRF, write_film

__all__ = ["CRF", "write_film"]
