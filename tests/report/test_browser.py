"""The page in a real browser: its plots are drawn, nothing is complained of, nothing runs or leaves it.

Skipped where no Chromium or Chrome is installed.
"""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest
from tests.report.conftest import NASTY, write_realistic

from rewarm.report.html import document
from rewarm.report.page import write_report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome to open the page")


def opened(page, folder, *options):
    """Open a page; return its DOM after its scripts have run, its console, and what it asked for."""
    log = folder / "net.json"
    done = subprocess.run(
        [
            BROWSER,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}"),
            *("--virtual-time-budget=20000", "--enable-logging=stderr", f"--log-net-log={log}"),
            *options,
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    console = re.findall(r":CONSOLE[:(].*", done.stderr)
    events = json.loads(log.read_text())["events"]
    wanted = [e["params"] for e in events if "initiator" in e.get("params", {})]
    asked = [p["url"] for p in wanted if p["initiator"] != "not an origin"]
    return done.stdout, console, asked


def copied(page, folder):
    """Return what the button below each table copies. The policy is taken off, to press them from here."""
    press = (
        "<script>(async () => { const found = [];"
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (t) => found.push(t)}});"
        "for (const details of document.querySelectorAll('details')) details.open = true;"
        "for (const button of document.querySelectorAll('button.copy')) button.click();"
        "const shown = document.body.appendChild(document.createElement('pre'));"
        "shown.id = 'found'; shown.textContent = JSON.stringify(found); })()</script>"
    )
    html = page.read_text(encoding="utf-8")
    html = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", html, count=1)
    test = folder / "pressed.html"
    test.write_text(html.replace("</body>", press + "</body>"), encoding="utf-8")
    dom, console, _ = opened(test, folder)
    assert console == []
    return json.loads(unescape(re.search('<pre id="found">(.*?)</pre>', dom).group(1)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def page(folder):
    return write_report([write_realistic(folder / "run")], folder / "report.html")


def test_the_plots_are_drawn_and_nothing_is_complained_of(page, folder):
    figures = page.read_text(encoding="utf-8").count('type="application/json"')
    dom, console, asked = opened(page, folder)
    assert figures > 0
    assert len(re.findall(r'<div[^>]*class="[^"]*js-plotly-plot', dom)) == figures
    assert (console, asked) == ([], [])


def test_it_is_drawn_on_a_phone_and_in_the_dark(page, folder):
    dom, console, _ = opened(page, folder, "--window-size=390,840", "--force-dark-mode")
    assert "js-plotly-plot" in dom
    assert console == []


def test_every_table_can_be_copied(page, folder):
    tables = copied(page, folder)
    assert len(tables) == page.read_text(encoding="utf-8").count("<table")
    assert tables[0].splitlines()[0].startswith("arm,replay,")
    assert len({len(line.split(",")) for line in tables[0].splitlines()}) == 1


def test_a_name_that_is_copied_is_no_formula(folder):
    page = folder / "names.html"
    cells = ("=1+1", '@a"b', "+x", "-0.5", "-", "+0.1 to +0.2")
    row = "".join(f"<td>{cell}</td>" for cell in cells)
    frame = '{% extends "frame.html.j2" %}{% block body %}' + f"<table><tr>{row}</tr></table>"
    page.write_text(document(frame + "{% endblock %}", {}), encoding="utf-8")
    assert copied(page, folder) == ['\'=1+1,"\'@a""b",\'+x,-0.5,-,+0.1 to +0.2\r\n']


def test_what_a_run_is_called_or_says_does_not_run(folder):
    marked = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
    run = write_realistic(folder / "nasty")
    for path in run.rglob("*.json*"):
        text = path.read_text(encoding="utf-8")
        for nasty in (NASTY, "Return a copy"):
            text = text.replace(json.dumps(nasty)[1:-1], json.dumps(marked + nasty)[1:-1])
        path.write_text(text, encoding="utf-8")
    page = write_report([run], folder / "nasty.html")
    assert "document.title" in page.read_text(encoding="utf-8")
    dom, console, asked = opened(page, folder)
    assert re.search("<title>(.*?)</title>", dom).group(1) != "run"
    assert (console, asked) == ([], [])


def test_the_test_would_see_a_page_that_runs_and_asks(folder):
    """What is checked above can be seen: a page without a policy does all of it."""
    page = folder / "open.html"
    page.write_text(
        "<title>before</title><script>document.title='run'; console.error('seen')</script>"
        "<img src='http://evil.example/x'>"
    )
    dom, console, asked = opened(page, folder)
    assert "<title>run</title>" in dom
    assert "seen" in console[0]
    assert asked == ["http://evil.example/x"]
