"""One peer's turn at encoding text, run by that peer's own interpreter; prints tokens and seconds as JSON.

python benchmarks/peers_text.py PEER TEXT.jsonl TOKENIZER.json FOLDER PROCESSES
"""

import json
import sys
import time
from pathlib import Path


def texts_of(path: str) -> list[str]:
    """Return all documents, read before the clock starts."""
    with Path(path).open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]


def tokenizers_alone(text: str, tokenizer: str, _folder: str, processes: int) -> tuple[int, float]:
    """Encode with `encode_batch_fast`, the library's threads, text in memory, ids not kept."""
    import os

    os.environ["RAYON_NUM_THREADS"] = str(processes)
    import tokenizers

    encoder = tokenizers.Tokenizer.from_file(tokenizer)
    documents = texts_of(text)
    began = time.perf_counter()
    tokens = 0
    for start in range(0, len(documents), 1000):
        for each in encoder.encode_batch_fast(documents[start : start + 1000]):
            tokens += len(each.ids)
    return tokens, time.perf_counter() - began


def tiktoken_alone(text: str, tokenizer: str, _folder: str, processes: int) -> tuple[int, float]:
    """Encode with `encode_ordinary_batch`, its threads, the same merges, text in memory, ids not kept."""
    import tiktoken
    from tiktoken_ext.openai_public import r50k_pat_str

    encoder = tiktoken.Encoding(
        "same-merges",
        pat_str=r50k_pat_str,  # GPT-2's, as in the tokenizer
        mergeable_ranks=_ranks(tokenizer),
        special_tokens={},
    )
    documents = texts_of(text)
    began = time.perf_counter()
    tokens = 0
    for start in range(0, len(documents), 1000):
        batch = encoder.encode_ordinary_batch(
            documents[start : start + 1000], num_threads=processes
        )
        tokens += sum(map(len, batch))
    return tokens, time.perf_counter() - began


def _ranks(tokenizer: str) -> dict[bytes, int]:
    """Return the vocabulary of a byte-level BPE as bytes; the byte alphabet is GPT-2's."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet |= {chr(256 + place): byte for place, byte in enumerate(others)}
    content = json.loads(Path(tokenizer).read_text(encoding="utf-8"))
    added = {token["content"] for token in content["added_tokens"]}
    vocabulary = content["model"]["vocab"]
    pairs = {bytes(alphabet[c] for c in t): i for t, i in vocabulary.items() if t not in added}
    # The encoder wants ranks, and the order of the ids is that of the merges.
    return {piece: rank for rank, piece in enumerate(sorted(pairs, key=lambda p: pairs[p]))}


def datatrove(text: str, tokenizer: str, folder: str, processes: int) -> tuple[int, float]:
    """Run its tokenizer stage from JSON lines to `.ds` files, as many tasks as processes."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    source = Path(text)
    began = time.perf_counter()
    LocalPipelineExecutor(
        pipeline=[
            JsonlReader(str(source.parent), glob_pattern=f"{source.stem}.part-*.jsonl"),
            DocumentTokenizer(
                output_folder=f"{folder}/tokens",
                tokenizer_name_or_path=tokenizer,
                eos_token="<|endoftext|>",
                shuffle_documents=True,
            ),
        ],
        tasks=processes,
        workers=processes,
        logging_dir=f"{folder}/logs",
    ).run()
    seconds = time.perf_counter() - began
    size = sum(path.stat().st_size for path in Path(folder, "tokens").rglob("*.ds"))
    return size // 2, seconds


if __name__ == "__main__":
    peers = {"tokenizers": tokenizers_alone, "tiktoken": tiktoken_alone, "datatrove": datatrove}
    name, *paths, processes = sys.argv[1:]
    tokens, seconds = peers[name](*paths, int(processes))
    print(json.dumps({"tokens": tokens, "seconds": seconds}))
