"""The page of suites in a real browser; see `tests/report/test_browser.py`."""

import re

import pytest

from rewarm.suites.page import write_page
from tests.report.test_browser import BROWSER, copied, opened
from tests.suites.results import SUITE, usual

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome to open the page")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def page(folder):
    return write_page([(SUITE, usual()), (SUITE, None)], folder / "suites.html")


@pytest.mark.parametrize(
    "options", [("--window-size=1280,900",), ("--window-size=390,840", "--force-dark-mode")]
)
def test_the_figures_are_drawn_and_nothing_is_complained_of_or_asked_for(page, folder, options):
    figures = page.read_text(encoding="utf-8").count('type="application/json"')
    dom, console, asked = opened(page, folder, *options)
    assert figures == 3
    assert len(re.findall(r'<div[^>]*class="[^"]*js-plotly-plot', dom)) == figures
    assert (console, asked) == ([], [])


def test_tables_can_be_copied(page, folder):
    tables = copied(page, folder)
    assert len(tables) == page.read_text(encoding="utf-8").count("<table") == 6
    assert tables[2].splitlines()[1] == "held,1. More replay forgets less.,Table 2"
    assert tables[4].splitlines()[2] == (
        '5%,3,5.520 ± 0.006,3.620 ± 0.006,4.570 ± 0.006,"1,000",0.33'
    )
    assert (
        tables[5]
        .splitlines()[1]
        .startswith("0%,strong,1,8.010000,3.510000,5.000000,5.000000,1000,")
    )
