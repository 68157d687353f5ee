"""The page in a real browser: its plots are drawn, nothing is complained of, nothing runs or leaves it.

Skipped where no Chromium or Chrome is installed.
"""

import fcntl
import json
import os
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


class Session:
    """A page that is open in a browser, and keys that are pressed in it as a person would."""

    def __init__(self, page, folder):
        (read, self._to_browser), (self._from_browser, write) = os.pipe(), os.pipe()
        # A browser reads commands from descriptor 3 and answers on 4.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (read, write)]
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe")
        self._browser = os.posix_spawn(
            BROWSER,
            [BROWSER, *options, f"--user-data-dir={folder / 'session'}", page.as_uri()],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, ends[0], 3),
                (os.POSIX_SPAWN_DUP2, ends[1], 4),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
        )
        for end in (read, write, *ends):
            os.close(end)
        self._count, self._rest, self._session = 0, b"", None
        targets = []
        while not targets:
            found = self._ask("Target.getTargets")["targetInfos"]
            targets = [each["targetId"] for each in found if each["url"] == page.as_uri()]
        attach = {"targetId": targets[0], "flatten": True}
        self._session = self._ask("Target.attachToTarget", **attach)["sessionId"]
        while not self.value("document.readyState === 'complete' && 'Plotly' in window"):
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._session = None
        self._ask("Browser.close")
        os.waitpid(self._browser, 0)
        os.close(self._to_browser)
        os.close(self._from_browser)

    def value(self, expression):
        """Return the value of an expression in the page."""
        asked = {"expression": expression, "returnByValue": True}
        return self._ask("Runtime.evaluate", **asked)["result"].get("value")

    def press(self, key, text=""):
        """Press a key."""
        codes = {"Tab": 9, "Enter": 13}
        rest = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        self._ask("Input.dispatchKeyEvent", type="keyDown", text=text, **rest)
        self._ask("Input.dispatchKeyEvent", type="keyUp", **rest)

    def _ask(self, method, **params):
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                more = os.read(self._from_browser, 65536)
                assert more, "the browser has ended"
                self._rest += more
            answer, _, self._rest = self._rest.partition(b"\0")
            found = json.loads(answer)
            if found.get("id") == self._count:
                return found["result"]


def copied(page, folder, below=":is(.scroll, table)"):
    """Return what the button below each table copies. The policy is taken off, to press them from here.

    Args:
        page: the page.
        folder: a folder for files.
        below: what the buttons are below, as a selector.
    """
    press = (
        "<script>(async () => { const found = [];"
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (t) => found.push(t)}});"
        "for (const details of document.querySelectorAll('details')) details.open = true;"
        f"for (const button of document.querySelectorAll('{below} + button.copy')) button.click();"
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


def test_the_points_of_every_figure_can_be_copied(page, folder):
    tables = copied(page, folder, below=".figure")
    assert len(tables) == page.read_text(encoding="utf-8").count('type="application/json"')
    assert all(table.startswith("name,what,x,y\r\n") for table in tables)
    losses = tables[0].splitlines()
    assert losses[1] == 'shared stages,"pretrain, validation loss on english",0,10.6'
    assert 'replay-5,"update, learning rate",81920000,0.00003' in losses
    (frontier,) = [table for table in tables if "Pareto front" in table]
    assert 'replay-25,"adaptation to new data, nats per token",0.09,2.72' in frontier


def test_a_keyboard_alone_reaches_everything_and_hides_an_arm(page, folder):
    with Session(page, folder) as session:
        wanted = session.value("document.querySelectorAll('button, .scroll, summary, a').length")
        is_reached = "(document.activeElement.reached = document.activeElement !== document.body)"
        steps, toggled = 0, 0
        session.press("Tab")
        while session.value(is_reached) and steps <= wanted:
            steps += 1
            if session.value("document.activeElement.textContent") == "replay-5":
                box = "document.activeElement.closest('section').querySelector('.figure')"
                traces = f"{box}.data.filter((trace) => trace.name === 'replay-5')"
                states = f"[...new Set({traces}.map((trace) => trace.visible ?? true))]"
                pressed = "document.activeElement.getAttribute('aria-pressed')"
                assert session.value("document.activeElement.parentElement.offsetWidth") > 100
                assert (session.value(states), session.value(pressed)) == ([True], "true")
                session.press("Enter", "\r")
                assert (session.value(states), session.value(pressed)) == (["legendonly"], "false")
                session.press("Enter", "\r")
                assert session.value(states) == [True]
                toggled += 1
            session.press("Tab")
        missed = session.value(
            "[...document.querySelectorAll('button, .scroll, summary, a')]"
            ".filter((each) => !each.reached).map((each) => each.textContent)"
        )
        assert (wanted > 20, toggled) == (True, 2)
        assert missed == []


def test_the_comparison_of_runs_is_drawn_and_its_names_are_inert(folder):
    marked = "<img src=x onerror=\"document.title='run'\">"
    runs = [
        write_realistic(
            folder / f"news{marked.replace('/', '')}-{seed}", seed=seed, shift=seed / 99
        )
        for seed in (1, 2)
    ]
    for path in [file for run in runs for file in run.rglob("*.json")]:
        text = path.read_text(encoding="utf-8")
        path.write_text(
            text.replace('"replay-5"', json.dumps(f"replay-5{marked}")), encoding="utf-8"
        )
    page = write_report(runs, folder / "compared.html")
    figures = page.read_text(encoding="utf-8").count('type="application/json"')
    dom, console, asked = opened(page, folder)
    assert len(re.findall(r'<div[^>]*class="[^"]*js-plotly-plot', dom)) == figures == 14
    assert re.search("<title>(.*?)</title>", dom).group(1) == "english-to-python: rewarm report"
    assert (console, asked) == ([], [])
    compute = copied(page, folder, below=".figure")[0]
    shown = f"replay-5{marked}"[:39] + "…"
    assert '"' + shown.replace('"', '""') + '"' in compute
    assert len(compute.splitlines()) == 1 + 4 * 3


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
