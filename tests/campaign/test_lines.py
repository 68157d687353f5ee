"""Every key has the line on which it stands."""

import tomllib
from pathlib import Path

import pytest

from rewarm.campaign.lines import key_lines, nearest_line

ROOT = Path(__file__).parents[2]
FILES = sorted(
    [*(ROOT / "campaigns").glob("*.toml"), *(ROOT / "src/rewarm/campaign/starters").glob("*.toml")]
)


def tables_and_values(value: object, path: tuple[str | int, ...] = ()):
    """Yield the path of everything in a TOML document, entries of arrays of tables numbered."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from tables_and_values(inner, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, inner in enumerate(value):
            yield from tables_and_values(inner, (*path, number))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_line_of_a_key_holds_it_in_every_campaign_file(file):
    text = file.read_text(encoding="utf-8")
    lines, found = text.splitlines(), key_lines(text)
    for path in tables_and_values(tomllib.loads(text)):
        number = nearest_line(found, path)
        assert number is not None
        word = next(part for part in reversed(path) if isinstance(part, str))
        assert word in lines[number - 1]


def test_tables_arrays_and_dotted_keys():
    found = key_lines(
        "\n".join(
            [
                'a = "x"',
                "b.c = 1",
                "[t]  # a comment",
                "k = [",
                '  "v = 1",',
                "]",
                "[[stage]]",
                "name = 1",
                "[stage.schedule]",
                "kind = 2",
                "[[ stage ]]",
                "[stage . schedule]",
                "'quo.ted' = 3",
                '[arms."replay-0.5"]',
            ]
        )
    )
    assert found == {
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 2,
        ("t",): 3,
        ("t", "k"): 4,
        ("stage",): 7,
        ("stage", 0): 7,
        ("stage", 0, "name"): 8,
        ("stage", 0, "schedule"): 9,
        ("stage", 0, "schedule", "kind"): 10,
        ("stage", 1): 11,
        ("stage", 1, "schedule"): 12,
        ("stage", 1, "schedule", "quo.ted"): 13,
        ("arms",): 14,
        ("arms", "replay-0.5"): 14,
    }


@pytest.mark.parametrize("quotes", ['"""', "'''"])
def test_what_a_long_text_says_is_no_key(quotes):
    text = f"a = {quotes}\nb = 1\n[c]\n{quotes}\nd = 2\n"
    assert key_lines(text) == {("a",): 1, ("d",): 5}


def test_a_long_text_on_one_line_ends_there():
    assert key_lines('a = """x"""\nb = 1\n') == {("a",): 1, ("b",): 2}


def test_a_key_of_an_inline_table_has_the_line_of_the_table():
    found = key_lines('[data.a]\ntrain = ["x"]\nschedule = { kind = "cosine" }\n')
    assert nearest_line(found, ("data", "a", "schedule", "kind")) == 3
    assert nearest_line(found, ("data", "a", "validation")) == 1
    assert nearest_line(found, ("model",)) is None
