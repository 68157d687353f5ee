"""The layers hold and can be seen to fail, the reference page is the code's, and links lead somewhere."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewarm.campaign.reference import reference

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("campaigns/*.md")])
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the layers of the `src` in a folder, by the rules in its pyproject.toml."""
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo"],
        cwd=folder,
        env={"PYTHONPATH": str(folder / "src"), "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the code and its rules."""
    folder = tmp_path_factory.mktemp("copy")
    no_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", folder / "src", ignore=no_caches)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture
def source(copy: Path) -> Iterator[Path]:
    """Return `src/rewarm` of the copy; what a test adds to it goes again."""
    package = copy / "src" / "rewarm"
    before = {path: path.read_bytes() for path in package.rglob("*.py")}
    yield package
    shutil.rmtree(package / "utils", ignore_errors=True)
    for path, content in before.items():
        path.write_bytes(content)


def test_imports_point_down():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_every_package_has_a_place_in_the_layers():
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [c for c in rules["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    placed = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    children = {
        path.stem
        for path in (ROOT / "src" / "rewarm").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert placed == children - {"__init__", *contract["exhaustive_ignores"]}


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("schedules/segments.py", "import torch", "The pure core never imports torch"),
        ("report/tables.py", "import transformers", "The pure core never imports torch"),
        ("campaign/quantities.py", "import rewarm.plan.cost", "Layers point down"),
        ("data/order.py", "import rewarm.models.build", "Layers point down"),
        ("integrations/sampler.py", "import rewarm.runs.files", "Integrations stand on"),
    ],
)
def test_an_import_against_the_layers_is_noticed(module, line, broken, source):
    with (source / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    done = lint(source.parents[1])
    assert done.returncode == 1
    assert re.search(rf"^{broken}.* BROKEN$", done.stdout, re.MULTILINE)


def test_a_package_without_a_place_is_noticed(source):
    (source / "utils").mkdir()
    (source / "utils" / "__init__.py").write_text("")
    done = lint(source.parents[1])
    assert done.returncode == 1
    assert "rewarm.utils" in done.stdout


def test_the_reference_page_is_what_the_code_says():
    page = (ROOT / "docs" / "campaign_file.md").read_text(encoding="utf-8")
    assert page == reference(), "`make docs` writes it anew"


def broken_links(page: Path, text: str) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    links = [link.split("#")[0] for link in LINK.findall(FENCED.sub("", text))]
    return [
        link
        for link in links
        if link and "://" not in link and not link.startswith("mailto:")
        if not (page.parent / link).exists()
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_a_link_that_leads_nowhere_is_noticed():
    text = "[a](docs/nowhere.md#part) [b](README.md#map) [c](https://example.org)\n```\n[d](x.md)\n```\n"
    assert broken_links(ROOT / "README.md", text) == ["docs/nowhere.md"]
