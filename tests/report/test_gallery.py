"""The galleries: a figure is one function."""

from dataclasses import replace

import plotly.graph_objects as go
import pytest

from rewarm.report.gallery import Gallery
from rewarm.report.page import page
from rewarm.report.plots import RUN_FIGURES
from rewarm.report.tables import read_run


@pytest.fixture
def one_more(monkeypatch):
    monkeypatch.setattr(RUN_FIGURES, "_entries", list(RUN_FIGURES._entries))

    @RUN_FIGURES.figure(
        title="Seeds over <time>",
        caption="Higher is later.",
        place="data",
        note="Small print.",
        when=lambda run: run.record.seed > 0,
    )
    def seeds(run, _styles):
        return go.Figure(go.Scatter(y=[run.record.seed]), {"height": 321})


@pytest.mark.usefixtures("one_more")
def test_a_figure_of_the_report_is_one_function(realistic):
    html = page([read_run(realistic)])
    assert '<h2 id="run0-seeds-title">Seeds over &lt;time&gt;</h2>' in html
    assert 'id="run0-seeds" style="min-height:321px"' in html
    assert html.index("run0-mixture") < html.index("run0-seeds") < html.index("run0-throughput")
    for text in ("Higher is later.", "Small print."):
        assert text in html


@pytest.mark.usefixtures("one_more")
def test_a_figure_with_nothing_to_show_is_left_out(realistic):
    run = read_run(realistic)
    without = replace(run, record=run.record.model_copy(update={"seed": 0}))
    assert "run0-seeds" not in page([without])


def test_a_figure_that_would_never_be_seen_is_an_error():
    with pytest.raises(ValueError, match="no place 'bottom'; it has top, middle"):
        Gallery("top", "middle").figure(title="", caption="", place="bottom", when=bool)
