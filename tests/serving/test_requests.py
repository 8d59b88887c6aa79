import hashlib
import json
import shlex

import pytest

from runtime.errors import UserError
from serving.methods import served_methods
from serving.requests import Request, command_of, parse_request, plain_name
from tests.serving import toy
from tests.serving.conftest import no_bundle

FILE = {"name": "a.png", "sha256": "0" * 64}


def test_options_are_those_of_the_command_line(ask) -> None:
    request = ask(text="x", shape="dots", limits=[1, 2], scale=2)
    assert request.values["count"] == 9, "the preset's"
    assert request.values["limits"] == [1, 2]
    assert request.config(toy.METHOD) == toy.Config(text="x", shape="dots", count=9, limits=(1, 2), scale=2.0)
    assert Request.from_json(json.loads(json.dumps(request.to_json()))) == request


WRONG = {
    "steps": (0, "--steps: expected 1 to 100000, got 0"),
    "count": (1.5, "'count': expected a whole number, got 1.5"),
    "shape": ("ring", "'shape': expected one of bars, dots, got 'ring'"),
    "limits": ([1], "'limits': expected"),
    "seed": (True, "'seed': expected a whole number, got True"),
    "out": ("/etc/passwd", "options: expected some of .*; got 'out'"),
    "nothing": (1, "options: expected some of .*; got 'nothing'"),
    "picture": ("/etc/passwd", "--picture: expected a file that you send, got the text '/etc/passwd'"),
    "mask": ("/etc/passwd", "--mask: expected a file that you send"),
    "text": (FILE, "--text: expected a value, got a file"),
    "scale": (float("nan"), "--scale: expected 0 to 10, got nan"),
}


@pytest.mark.parametrize("option", WRONG)
def test_wrong_options_are_refused_as_by_the_command(ask, option: str) -> None:
    value, message = WRONG[option]
    with pytest.raises(UserError, match=message):
        ask(**{option: value})


@pytest.mark.parametrize(
    "document",
    [None, [], "toy", {}, {"method": "toy", "options": []}, {"method": "toy", "options": {"shape": ["bars"]}},
     {"method": "toy", "options": {"picture": {"name": "a"}}},
     {"method": "toy", "options": {"picture": {"name": "a", "sha256": "../../etc/passwd"}}}],
)  # fmt: skip
def test_documents_that_are_no_request(served, document: object) -> None:
    with pytest.raises(UserError):
        parse_request(document, served, no_bundle)


def test_a_file_stands_for_its_option(ask) -> None:
    request = ask(picture={"name": "../../etc/a b.png", "sha256": "1" * 64}, mask={"name": "m.png", "sha256": "2" * 64})
    assert request.values["picture"] == "a-b.png"
    assert request.files["picture"].sha256 == "1" * 64
    assert request.config(toy.METHOD, {"picture": "/store/x/a-b.png"}).picture.name == "a-b.png"


def test_the_key_is_of_all_that_decides_the_result(ask) -> None:
    same = [ask(text="x"), ask(text="x", shape="bars"), ask(text="x", count=5)]
    assert len({request.key for request in same}) == 1
    others = [ask(text="x"), ask(text="y"), ask(text="x", seed=1), ask(text="x", picture=FILE),
              ask(text="x", picture={**FILE, "sha256": "1" * 64})]  # fmt: skip
    assert len({request.key for request in others}) == len(others)


def test_networks_are_part_of_it() -> None:
    served = served_methods()
    document = {"method": "lmconv_sample", "options": {"count": 2}}
    one, two = (parse_request(document, served, lambda name, d=digest: d * 64) for digest in "ab")
    assert one.bundle_sha256 == "a" * 64 and one.key != two.key

    def refuse(name: str) -> str:
        raise UserError(f"bundle {name}: not offered")

    with pytest.raises(UserError, match="/etc: not offered"):
        parse_request({"method": "lmconv_sample", "options": {"bundle": "/etc"}}, served, refuse)
    with pytest.raises(UserError, match="--bundle: expected the name"):
        parse_request({"method": "lmconv_sample", "options": {"bundle": 3}}, served, refuse)


def test_a_bundle_has_its_own_defaults() -> None:
    served = served_methods()
    document = {"method": "vectorfusion", "options": {"prompt": "a cat"}}
    plain = parse_request(document, served, lambda name: "a" * 64)
    own = parse_request(document, served, lambda name: "a" * 64, defaults=lambda bundle, method: {"steps": 7})
    assert plain.values["steps"] is None and own.values["steps"] == 7


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a.png", "a.png"),
        ("C:\\pictures\\a b.png", "a-b.png"),
        ("..", "file"),
        ("", "file"),
        (".htaccess", "file.htaccess"),
        ("x" * 300 + ".png", "x" * 60 + ".png"),
        ("a\0b.svg", "a-b.svg"),
        ("é.png", "file.png"),
    ],
)
def test_names_of_files(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_the_command_that_draws_the_same() -> None:
    served = served_methods()
    options = {"prompt": "a cat's hat", "preset": "sketch", "seed": 3, "upper_t": [700, 100]}
    request = parse_request({"method": "vectorfusion", "options": options}, served, lambda name: "a" * 64)
    line = command_of(request, served["vectorfusion"].method)
    assert shlex.split(line) == shlex.split(
        'python -m runtime.vectorfusion "a cat\'s hat" --preset sketch --seed 3 --upper-t 700 100'
    )
    document = {"method": "lmconv_sample", "options": {"video": True, "count": 4}}
    request = parse_request(document, served, lambda name: "a" * 64)
    line = command_of(request, served["lmconv_sample"].method)
    assert line == "python -m runtime.lmconv sample --count 4 --video"


def test_the_hash_is_stable(ask) -> None:
    request = ask(text="x")
    text = json.dumps({**request.to_json(), "version": "0.1.0"}, sort_keys=True)
    assert request.key == hashlib.sha256(text.encode()).hexdigest()


def test_a_command_names_the_folder_and_what_is_switched_off() -> None:
    served, digest = served_methods(), "0" * 64
    options = {"capture": {"name": "photos.zip", "sha256": digest}, "views": 8}
    request = parse_request({"method": "nerf", "options": options}, served, str)
    assert command_of(request, served["nerf"].method) == "python -m runtime.nerf photos --views 8"
    options = {"prompt": "a cat", "ipe": False}
    request = parse_request({"method": "dreamfields", "options": options}, served, lambda name: digest)
    assert command_of(request, served["dreamfields"].method) == "python -m runtime.dreamfields 'a cat' --no-ipe"
