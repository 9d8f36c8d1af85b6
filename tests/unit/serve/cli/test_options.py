import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

import pytest
import typer
from pydantic import BaseModel, Field
from typer.testing import CliRunner
from unit.serve.cli.fakes import SHRINK, ShrinkParams

from pipelines.jobs.catalogue import Operation
from pipelines.media.images.thumbnail_spec import ThumbnailSpec
from serve.catalogue import catalogue
from serve.cli.options import files_of, folders_of, given_params, option_parameters

runner = CliRunner()


def taken(**options):
    return given_params(ShrinkParams, options)


def shown_help() -> str:
    from serve.cli.operations import operation_command

    app = typer.Typer(rich_markup_mode=None)
    app.command("shrink")(operation_command(SHRINK))
    return runner.invoke(app, ["--help"], env={"COLUMNS": "200"}).output


def read(model: type[BaseModel], *arguments: str) -> dict[str, Any]:
    """What a command line comes to, as JSON values."""
    taken: dict[str, Any] = {}

    def run(**options: Any) -> None:
        taken.update(given_params(model, options))

    run.__signature__ = inspect.Signature(option_parameters(model, frozenset()))  # type: ignore[attr-defined]
    app = typer.Typer(rich_markup_mode=None)
    app.command()(run)
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return taken


def numbers_named(schema: Mapping[str, Any]) -> Iterator[int]:
    """The numbers that a parameter's JSON schema gives to choose from."""
    yield from (value for value in [*schema.get("enum", ()), schema.get("const")] if isinstance(value, int))
    for inner in (*schema.get("anyOf", ()), *filter(None, [schema.get("items")])):
        yield from numbers_named(inner)


NUMBERS = [
    (operation, name, value)
    for operation in catalogue()
    for name, schema in operation.params.model_json_schema()["properties"].items()
    for value in numbers_named(schema)
]


@pytest.mark.parametrize(
    ("operation", "name", "value"), NUMBERS, ids=[f"{each[0].name} {each[1]} {each[2]}" for each in NUMBERS]
)
def test_a_number_to_choose_is_taken_whatever_operation_names_it(operation: Operation, name: str, value: int) -> None:
    assert operation.params.model_validate(read(operation.params, f"--{name}", str(value))).model_dump()[name] == value


def test_numbers_to_choose_are_sent_as_numbers() -> None:
    class Params(BaseModel):
        bits: Literal[8, 16] | None = None
        depths: tuple[Literal[8, "keep"], ...] = ()

    taken = read(Params, "--bits", "16", "--depths", "keep,8")
    assert taken == {"bits": 16, "depths": ["keep", 8]}


def test_every_field_but_those_left_out_is_an_option():
    names = {each.name for each in option_parameters(ShrinkParams, frozenset({"output"}))}
    assert names == set(ShrinkParams.model_fields) - {"output"}


def test_what_isn_t_given_isn_t_sent():
    assert taken(crf=None, times=[], hdr=None, loud=None) == {}


def test_a_flag_may_be_switched_off():
    assert taken(loud=False) == {"loud": False}


def test_lists_are_repeated_or_separated_with_commas():
    assert taken(times=["1,2", "3.5"]) == {"times": ["1", "2", "3.5"]}


def test_a_spelling_of_the_model_is_sent_as_given():
    assert taken(audio_bitrate="128k") == {"audio_bitrate": "128k"}


def test_a_file_that_is_named_is_sent_with_its_whole_path(tmp_path, monkeypatch):
    class Params(BaseModel):
        against: str | None = Field(None, json_schema_extra={"format": "path"})
        name: str = ""

    monkeypatch.chdir(tmp_path)
    given = given_params(Params, {"against": "kept/a.parquet", "name": "b"})
    assert given == {"against": f"{tmp_path}/kept/a.parquet", "name": "b"}
    assert files_of(Params, given) == [f"{tmp_path}/kept/a.parquet"]
    assert given_params(Params, {"against": "file:///a"}) == {"against": "file:///a"}


def test_a_folder_that_is_written_to_is_told_from_files_that_are_read():
    class Params(BaseModel):
        against: str | None = Field(None, json_schema_extra={"format": "path"})
        folder: str | None = Field(None, json_schema_extra={"format": "path", "writes": True})
        name: str = ""

    given = {"against": "/kept/a.parquet", "folder": "/films", "name": "b"}
    assert files_of(Params, given) == ["/kept/a.parquet", "/films"]
    assert folders_of(Params, given) == ["/films"]


def test_only_lists_of_any_length_are_said_to_be_repeated() -> None:
    helps = {each.name: each.annotation.__metadata__[0].help for each in option_parameters(ThumbnailSpec, frozenset())}
    assert helps["sizes"].endswith("Repeat it, or separate with commas.")
    assert helps["focus"].endswith("as fractions of width and height: 0.5,0.3.")


def test_an_error_names_the_option():
    with pytest.raises(typer.BadParameter) as caught:
        taken(audio_bitrate="loud")
    assert caught.value.param_hint == "--audio-bitrate"
    assert "no bit rate" in caught.value.message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"background": "reddish"}, "'reddish' is no colour; give red, green and blue in hexadecimal, as #ff8000"),
        ({"sizes": [","]}, "give at least 1"),
        ({"sizes": [str(number) for number in range(1, 18)]}, "give at most 16"),
        ({"sizes": ["wide"]}, "'wide' is no size; give a width such as 720"),
    ],
)
def test_an_error_says_what_to_give(options, said):
    with pytest.raises(typer.BadParameter) as caught:
        given_params(ThumbnailSpec, options)
    assert caught.value.message.startswith(said)


def test_the_default_of_a_list_is_shown():
    shown = {each.name: get_args(each.annotation)[1].show_default for each in option_parameters(ThumbnailSpec, set())}
    assert (shown["sizes"], shown["focus"]) == ("medium", False)


def test_an_error_of_two_options_names_none():
    with pytest.raises(typer.BadParameter) as caught:
        taken(start=5.0, end=1.0)
    assert caught.value.param_hint is None


@pytest.mark.parametrize(
    "expected",
    [
        "--crf",
        "0<=x<=51",
        "--audio-bitrate",
        "auto|keep",
        "round|square",
        "--loud",
        "--no-loud",
        "Quality.",
        "-o",
    ],
)
def test_help_shows(expected):
    assert expected in shown_help()
