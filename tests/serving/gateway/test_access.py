import json
from pathlib import Path

import pytest

from runtime.errors import UserError
from serving.gateway.access import Token, read_tokens
from serving.gateway.server import Address


def test_an_address_that_others_reach_needs_tokens() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        with pytest.raises(UserError, match="--tokens FILE"):
            Address(host=host)
    assert Address(host="0.0.0.0", tokens=(Token("a", "0" * 64, 1),)).host == "0.0.0.0"
    assert Address(host="::1").host == "::1"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"a": {}}', '{"a": {"sha256": "x"}}', '{"a": {"sha256": "%s", "quota": 0}}' % ("0" * 64)]
)
def test_a_file_of_tokens_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokens.json").write_text(text)
    with pytest.raises(UserError, match="--tokens"):
        read_tokens(tmp_path / "tokens.json")


def test_a_file_of_tokens_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="--tokens"):
        read_tokens(tmp_path / "tokens.json")


def test_a_file_of_tokens(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text(json.dumps({"ann": {"sha256": "0" * 64, "quota": 3}}))
    assert read_tokens(tmp_path / "tokens.json") == [Token("ann", "0" * 64, 3)]
