"""Two sources that every Python brings along: the prose and the code of its standard library.

They need no download, so they are what a first try runs on. Whole modules are set aside for
validation by a hash of the module's name, the same ones in both sources.
"""

import ast
import hashlib
import platform
import sysconfig
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from rewarm.data.documents import Document, Part, part_of
from rewarm.data.python_code import without_prose
from rewarm.data.rejects import Rejects
from rewarm.errors import DataError

Split = Literal["train", "validation"]

MIN_CHARACTERS = 500
"""A module that yields less prose, or less code, than this is left out of that source."""

_SALT = "rewarm standard library split 1:"
_VALIDATION_SHARE = 0.05

# Tests and installed packages; tables of characters; the topics, read apart; build settings.
_SKIPPED_FOLDERS = {
    *("test", "tests", "idle_test", "lib2to3", "turtledemo", "__pycache__"),
    *("site-packages", "dist-packages", "encodings", "pydoc_data"),
}
_SKIPPED_PREFIX = "_sysconfigdata"


def side(module: str) -> Split:
    """Return the split that a module belongs to; about one in 20 is for validation.

    Args:
        module: its dotted name.

    >>> side("json.decoder")
    'train'
    """
    digest = hashlib.sha256((_SALT + module).encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "validation" if share < _VALIDATION_SHARE else "train"


def modules(split: Split) -> dict[str, Path]:
    """Return the library's modules on one side of the split, by name, in order.

    Raises:
        DataError: this Python comes without the source of its library.
    """
    root = Path(sysconfig.get_path("stdlib"))
    found: dict[str, Path] = {}
    for path in _python_files(root):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    if not found:
        raise DataError(
            f"{root}: no modules: this Python comes without the source of its standard library."
            " Use a Python that has it, or text files of your own."
        )
    return {name: path for name, path in sorted(found.items()) if side(name) == split}


@dataclass(frozen=True)
class PythonDocs:
    """English: the docstrings of each module as one document, then the help topics.

    Topics repeat one another, so all of them are on the training side. Interactive examples are
    left out.
    """

    split: Split
    """Which side of the split to read."""
    shard: Part = Part()  # noqa: RUF009  (a tuple)
    """Which of the documents."""

    def documents(self, rejects: Rejects) -> Iterator[Document]:
        """Yield every document of at least `MIN_CHARACTERS`; none is bad."""
        return _counted(self._all(), self.shard, rejects)

    def _all(self) -> Iterator[Document]:
        for name, path in modules(self.split).items():
            docstrings = map(without_examples, _docstrings(_parsed(path)))
            text = "\n\n".join(filter(None, docstrings))
            if len(text) >= MIN_CHARACTERS:
                yield Document(text + "\n", name)
        for name, topic in sorted(self._topics().items()):
            text = without_examples(topic)
            if len(text) >= MIN_CHARACTERS:
                yield Document(text + "\n", f"topic:{name}")

    def _topics(self) -> dict[str, str]:
        """Return the help topics of this side by name."""
        if self.split == "validation":
            return {}
        try:
            from pydoc_data.topics import topics
        except ImportError as error:
            raise DataError(
                "this Python comes without its help topics (`pydoc_data`). Use a Python that has"
                " them, or text files of your own."
            ) from error
        return topics

    def describe(self) -> list[dict[str, Any]]:
        """Return the version of Python, the split, and how much there is to read."""
        return [
            _description("python-docs", self.split, self.shard) | {"topics": len(self._topics())},
        ]

    def num_bytes(self) -> None:
        """Return None: how much prose there is shows only on reading."""

    def part(self, number: int, of: int) -> Self:
        """Return every `of`-th document from the `number`-th on."""
        return replace(self, shard=part_of(self.shard, number, of))


@dataclass(frozen=True)
class PythonCode:
    """Code: each module without its docstrings and comments as one document."""

    split: Split
    """Which side of the split to read."""
    shard: Part = Part()  # noqa: RUF009  (a tuple)
    """Which of the documents."""

    def documents(self, rejects: Rejects) -> Iterator[Document]:
        """Yield every document of at least `MIN_CHARACTERS`; none is bad."""
        return _counted(self._all(), self.shard, rejects)

    def _all(self) -> Iterator[Document]:
        for name, path in modules(self.split).items():
            text = without_prose(_source(path))
            if len(text) >= MIN_CHARACTERS:
                yield Document(text, name)

    def describe(self) -> list[dict[str, Any]]:
        """Return the version of Python, the split, and how much there is to read."""
        return [_description("python-code", self.split, self.shard)]

    def num_bytes(self) -> None:
        """Return None: how much code there is shows only on reading."""

    def part(self, number: int, of: int) -> Self:
        """Return every `of`-th document from the `number`-th on."""
        return replace(self, shard=part_of(self.shard, number, of))


def without_examples(text: str) -> str:
    r"""Return text without interactive examples, from `>>>` to the next blank line.

    >>> without_examples("Add.\n\n>>> 1 + 1\n2\n\nThat is all.")
    'Add.\n\nThat is all.'
    """
    kept: list[str] = []
    is_example = False
    for line in text.strip().split("\n"):
        is_example = line.lstrip().startswith(">>>") or (is_example and bool(line.strip()))
        is_second_blank = not line.strip() and not (kept and kept[-1])
        if not is_example and not is_second_blank:
            kept.append(line.rstrip())
    return "\n".join(kept).strip()


def _python_files(folder: Path) -> Iterator[Path]:
    """Yield the modules below a folder, without looking into what is skipped."""
    for path in folder.iterdir():
        if path.name in _SKIPPED_FOLDERS or not path.stem.isidentifier():
            continue
        if path.is_dir():
            yield from _python_files(path)
        elif path.suffix == ".py" and not path.name.startswith(_SKIPPED_PREFIX):
            yield path


def _counted(documents: Iterator[Document], shard: Part, rejects: Rejects) -> Iterator[Document]:
    """Yield the documents of a part."""
    for number, document in enumerate(documents):
        if shard.takes(number):
            rejects.rows += 1
            yield document


def _description(source: str, split: Split, shard: Part) -> dict[str, Any]:
    """Return what both sources say of themselves."""
    part = {} if shard == Part() else {"part": f"{shard.number} of {shard.of}"}
    return part | {
        "source": source,
        "split": split,
        "python": platform.python_version(),
        "modules": len(modules(split)),
    }


def _source(path: Path) -> str:
    """Return the text of a module in the encoding that it declares."""
    with tokenize.open(path) as file:
        return file.read()


def _parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(_source(path))


def _docstrings(tree: ast.Module) -> Iterator[str]:
    """Yield the docstrings of a module, its classes and functions, in the order of the source."""
    owners = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for node in sorted(owners, key=lambda node: getattr(node, "lineno", 0)):
        docstring = ast.get_docstring(node)
        if docstring:
            yield docstring
