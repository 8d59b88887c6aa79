"""Prompts on a command line: what is accepted, and the file names that they give."""

import re
import unicodedata

from runtime.errors import UserError

LONGEST_PROMPT = 500
"""Most characters of a prompt; a bundle's own limit, in tokens, is usually lower."""

ARTICLES = ("a", "an", "the")
LONGEST_STEM = 60


def check_prompt(prompt: str, name: str = "prompt") -> str:
    """Return a prompt without spaces around it.

    Args:
        prompt: 1 to `LONGEST_PROMPT` characters.
        name: of the option, for messages.

    Raises:
        UserError: it is empty, too long, or not one line of printable text.
    """
    prompt = prompt.strip()
    if not prompt:
        raise UserError(f'{name}: expected a few words such as "a red apple", got none')
    if len(prompt) > LONGEST_PROMPT:
        raise UserError(f"{name}: expected at most {LONGEST_PROMPT} characters, got {len(prompt)}; use fewer words")
    if not prompt.isprintable():
        raise UserError(f"{name}: expected one line of printable text, got {prompt!r:.80}")
    return prompt


def stem_of(prompt: str, default: str, *, article: bool = True) -> str:
    """Return a prompt's words joined by hyphens, at most 60 characters: the name of its files, without a suffix.

    Args:
        prompt: any text.
        default: the name where it has no word.
        article: whether an article at its beginning stays.
    """
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", prompt).lower())
    if not article and len(words) > 1 and words[0] in ARTICLES:
        words = words[1:]
    return "-".join(words)[:LONGEST_STEM].strip("-_") or default
