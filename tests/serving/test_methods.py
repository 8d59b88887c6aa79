import pytest

from runtime.errors import UserError
from serving.methods import find, is_file, method_at, options_schema, served_methods, texts_or_files
from tests.serving import toy


def test_every_method_of_the_runtime_is_served_without_a_file_of_its_own() -> None:
    served = served_methods()
    assert {"vectorfusion", "vectorize", "lmconv_complete", "lmconv_sample"} <= set(served)
    assert {"ddpm_sample", "ddpm_interpolate", "ddpm_complete", "ddpm_codec"} <= set(served)
    for name, method in served.items():
        assert name.isidentifier()
        assert method_at(method.home) is method.method
        assert method.summary and not method.summary.endswith(".")
        schema = options_schema(method.method.config)
        assert "out" not in schema["properties"]
        assert all(option["description"] for option in schema["properties"].values()), name


def test_schema_says_type_range_choices_default_and_help() -> None:
    schema = options_schema(toy.Config)
    assert schema["required"] == []
    options = schema["properties"]
    assert options["count"] == {
        "type": "integer", "minimum": 1, "maximum": 1000, "default": 5, "description": "Numbers. Range: 1 to 1000.",
    }  # fmt: skip
    assert options["shape"]["enum"] == ["bars", "dots"]
    assert options["scale"]["type"] == "number"
    assert options["picture"] == {
        "type": "string", "format": "file", "nullable": True, "default": None,
        "description": "File whose content is counted.",
    }  # fmt: skip
    assert options["limits"]["prefixItems"] == [{"type": "integer"}] * 2
    assert options["limits"]["default"] == [0, 100]


def test_required_options() -> None:
    served = served_methods()
    assert options_schema(served["lmconv_complete"].method.config)["required"] == ["picture", "hide"]
    assert is_file(served["vectorize"].method.config.__annotations__["picture"])


def test_words_or_a_picture_a_region_or_a_mask() -> None:
    expected = {"lift": ("prompt",), "lmconv_complete": ("hide",), "ddpm_complete": ("hide",)}
    given = {name: texts_or_files(served.method) for name, served in served_methods().items()}
    assert {name: texts for name, texts in given.items() if texts} == expected
    assert texts_or_files(toy.METHOD) == ("mask",)


@pytest.mark.parametrize("name", ["nothing", 3, None, ["toy"], {}])
def test_an_unknown_method_names_those_there_are(served, name: object) -> None:
    with pytest.raises(UserError, match=r"method: expected one of toy; got"):
        find(served, name)


def test_a_home_that_holds_no_method() -> None:
    with pytest.raises(UserError, match="home of a method"):
        method_at("runtime.errors:UserError")
