"""The table in the terminal and in Markdown."""

import pytest
from rich.console import Console

from rewarm.report.tables import headline, markdown, read_run, terminal_table


@pytest.fixture(scope="module")
def run(realistic):
    return read_run(realistic)


def _printed(table, width=80):
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_the_headline_has_the_numbers_in_the_order_of_the_campaign(run):
    table = headline(run)
    assert table.rows[2] == (
        "replay-25",
        "25%",
        "2.890",
        "1.380",
        "2.135",
        "+0.090",
        "+2.720",
        "32.8M",
        "81.9M",
        "1.97e14",
        "0.40",
        "+0.010",
    )
    assert [row[0] for row in table.rows] == ["no-replay", "replay-5", "replay-25", "union †"]
    assert [row[4] for row in table.rows] == ["2.465", "2.190", "2.135", "2.125 *"]
    assert len(table.notes) == 2


def test_the_terminal_table_fits_eighty_columns(run):
    text = _printed(terminal_table(run))
    assert max(len(line) for line in text.splitlines()) <= 80
    for cell in ("replay-25", "25%", "2.890", "2.125 *", "+0.340", "32.8M"):
        assert cell in text


def test_markup_and_control_characters_in_names_stay_text(build, tmp_path):
    stage = build.finished(build.record("pretrain"), (9.0, 9.0), (2.0, 3.0))
    name = "[red]x[/red]" + chr(27) + "[2J"
    path = build.write(tmp_path, [stage], {name: [stage.record.folder]})
    text = _printed(terminal_table(read_run(path)), width=200)
    assert "[red]x[/red]" in text
    assert chr(27) not in text


def test_markdown_holds_verdict_table_and_provenance(run):
    text = markdown(run)
    lines = text.splitlines()
    assert lines[0] == "## english-to-python"
    assert "The best average loss is that of union" in lines[2]
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == 6
    assert {row.count("|") for row in rows} == {13}
    assert "Seed 1234. 229M training tokens in 5 stages." in text
    assert "torch 2.13.0" in text
    assert "`rewarm report runs/english-to-python --markdown table.md`" in text


def test_markdown_is_the_same_for_the_same_run(realistic):
    assert markdown(read_run(realistic)) == markdown(read_run(realistic))


def test_names_cannot_break_the_markdown_table(build, tmp_path):
    stage = build.finished(build.record("pretrain"), (9.0, 9.0), (2.0, 3.0))
    path = build.write(tmp_path, [stage], {"a|b<script>\nc": [stage.record.folder]})
    text = markdown(read_run(path))
    assert "a\\|b&lt;script&gt; c" in text
    assert "<script>" not in text


def test_no_finished_arm_makes_no_table(build, tmp_path):
    stage = build.begun(build.record("pretrain"))
    run = read_run(build.write(tmp_path, [stage], {"only": [stage.record.folder]}))
    assert headline(run).rows == []
    assert "| --- |" not in markdown(run)
    assert "Versions: not recorded." in markdown(run)
    assert "english-to-python" in _printed(terminal_table(run))
