"""Long documents in pieces: cut where it does not show in the ids.

A source gives a long text in pieces that end anywhere. They are cut anew at places where the
tokenizer splits in any case, so that each piece can be encoded by itself, by any process, in
bounded memory.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rewarm.data.documents import Document
from rewarm.data.split_patterns import first_border, last_border
from rewarm.errors import DataError

PIECE_CHARACTERS = 1 << 20
"""Longest piece, where the text can be cut."""
MAX_UNCUT_CHARACTERS = 1 << 26
"""Longest text without a place to cut it that is waited for."""


def cut_documents(documents: Iterable[Document], *, can_be_cut: bool) -> Iterator[Document]:
    """Yield the same texts in pieces that have together the ids of the whole.

    Args:
        documents: whole, or in pieces that were cut anywhere.
        can_be_cut: whether the tokenizer allows it; if not, pieces are joined to whole documents.

    Raises:
        DataError: a document in pieces has a run of 64 Mi characters that cannot be cut.
    """
    waiting: list[str] = []
    for document in documents:
        if not waiting and document.ends and len(document.text) <= PIECE_CHARACTERS:
            yield document
            continue
        text = "".join([*waiting, document.text])
        start = 0
        while can_be_cut and len(text) - start > PIECE_CHARACTERS:
            limit = start + PIECE_CHARACTERS
            border = last_border(text, start + 1, limit) or first_border(text, limit)
            if border is None:
                break
            yield replace(document, text=text[start:border], ends=False)
            start = border
        if document.ends:
            yield replace(document, text=text[start:])
            waiting = []
        else:
            waiting = [text[start:]]
            _check_length(document, waiting[0], can_be_cut=can_be_cut)


def _check_length(document: Document, waiting: str, *, can_be_cut: bool) -> None:
    """Refuse to gather text without bound."""
    if len(waiting) <= MAX_UNCUT_CHARACTERS:
        return
    reason = (
        "it has no space or line feed behind a letter or digit for that long"
        if can_be_cut
        else "this tokenizer does not split text in a way that is known to be independent of what"
        " is further on"
    )
    raise DataError(
        f"{document.origin}: over {MAX_UNCUT_CHARACTERS:,} characters of one document have to be"
        f" encoded at once, which takes too much memory: {reason}. Split it into several documents."
    )
