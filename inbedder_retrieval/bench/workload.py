"""The workload of a benchmark: texts and questions, and what embedding them takes.

Texts are runs of words of the demo corpus, drawn with a fixed seed, so that every process and
every machine has the same ones. What they take is counted from the recipe and the weights, not
from what a backend did: padding is no work, and what a backend finds a way around is done.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files

from safetensors import safe_open
from tokenizers import Tokenizer

from inbedder_retrieval.checkpoint import Checkpoint
from inbedder_retrieval.demo import demo_documents
from inbedder_retrieval.errors import InputError
from inbedder_retrieval.prompting import Prompter
from inbedder_retrieval.views import Views

__all__ = [
    "Work",
    "drawn_texts",
    "every",
    "questions",
    "readable",
    "room_for_text",
    "texts_of_length",
    "work_of",
]

SEED = 0


@dataclass(frozen=True)
class Work:
    """What embedding texts under views takes.

    Attributes:
        tokens: that are not padding; a question's tokens count for each text it is asked of.
        operations: multiplications and additions of the model's layers, without those that are run
            once for all texts: two for each weight of a linear layer and token, and four for each
            key that a token sees, layer and dimension (queries by keys, and weights by values).
            Embeddings, norms and the head are left out: less than a hundredth. None where they
            cannot be counted.
    """

    tokens: int
    operations: int | None


def questions(count: int) -> Views:
    """Return the first `count` of 64 different short questions.

    Raises:
        InputError: fewer than 1 or more than 64.
    """
    with as_file(files("inbedder_retrieval").joinpath("data/questions.json")) as path:
        views = Views.load(path)
    if not 1 <= count <= len(views):
        raise InputError(f"{count} views were asked for; choose 1 to {len(views)}")
    return views[:count]


def drawn_texts(count: int, shortest: int, longest: int, *, seed: int = SEED) -> Iterator[str]:
    """Draw `count` texts of `shortest` to `longest` words, all lengths equally often.

    Raises:
        InputError: no text, no word, or a shortest that is longer than the longest.
    """
    if count < 1:
        raise InputError(f"{count} texts were asked for; there must be at least 1")
    if not 1 <= shortest <= longest:
        raise InputError(
            f"texts of {shortest} to {longest} words were asked for; give a number of words from 1 "
            "on, or two of them, the smaller one first"
        )
    return _drawn(count, shortest, longest, seed)


def _drawn(count: int, shortest: int, longest: int, seed: int) -> Iterator[str]:
    words = _words()
    draw = random.Random(seed)
    for _ in range(count):
        length, start = draw.randint(shortest, longest), draw.randrange(len(words))
        yield " ".join(itertools.islice(itertools.cycle(words), start, start + length))


def texts_of_length(tokenizer: Tokenizer, count: int, pieces: int) -> list[str]:
    """Make `count` different texts of exactly `pieces` word pieces from the demo corpus.

    Raises:
        InputError: fewer than one piece.
    """
    if pieces < 1:
        raise InputError(f"texts of {pieces} word pieces were asked for; choose 1 or more")
    words = _words()
    lengths = {
        word: len(tokenizer.encode(word, add_special_tokens=False).ids) for word in {*words, "the"}
    }
    stream = itertools.cycle(words)
    texts: list[str] = []
    for _ in range(count):
        chosen: list[str] = []
        room = pieces
        while room:
            word = next(stream)
            # A word that is too long for what is left gives way to a single-piece one.
            chosen.append(word if lengths[word] <= room else "the")
            room -= lengths[chosen[-1]]
        texts.append(" ".join(chosen))
    return texts


def every(texts: Sequence[str], step: int) -> list[str]:
    """Take every `step`-th text by length, so that a part is as long on average as the whole."""
    return sorted(texts, key=len)[step // 2 :: step]


def room_for_text(checkpoint: Checkpoint, views: Views) -> int:
    """Return how many word pieces of a text a model reads under every one of the views."""
    recipe = checkpoint.recipe
    if recipe.attention == "prefix":
        return recipe.max_text_tokens
    prompts = Prompter(checkpoint.tokenizer(), recipe).prompts(["a"], views)
    # The text "a" takes a piece itself, which is left as a margin for pieces that join it.
    return recipe.max_tokens - max(len(prompt.input_ids) for prompt in prompts)


def readable(
    checkpoint: Checkpoint, texts: Sequence[str], views: Views
) -> tuple[list[str], list[int]]:
    """Cut texts to what the model reads, so that every contender reads the same words.

    Returns the texts, and the indices of those that were cut.
    """
    room = room_for_text(checkpoint, views)
    tokenizer = checkpoint.tokenizer()
    cut: list[int] = []
    read: list[str] = []
    for index, text in enumerate(texts):
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        if len(offsets) > room:
            cut.append(index)
            end = offsets[room - 1][1]
            # A word that is cut in two may be read as more pieces than it had.
            text = re.sub(r"\S+\Z", "", text[: end + 1]).rstrip() or text[:end]
        read.append(text)
    return read, cut


def work_of(checkpoint: Checkpoint, texts: Sequence[str], views: Views) -> Work:
    """Count what embedding texts under views takes, a text read once for all of them."""
    recipe = checkpoint.recipe
    tokens = seen = asked = own_seen = 0
    for shared, own in _lengths(checkpoint, texts, views):
        tokens += shared + sum(own)
        asked += sum(own)
        if recipe.attention == "causal":
            # A token sees itself and what came before.
            seen += shared * (shared + 1) // 2
            seen += sum(length * shared + length * (length + 1) // 2 for length in own)
        else:
            by_questions = sum(length * (shared + length) for length in own)
            own_seen += by_questions
            seen += shared * shared + by_questions
    layers = _layers(checkpoint)
    if layers is None or recipe.generates or recipe.model == "seq2seq":
        return Work(tokens, None)
    count, weights = layers
    width = _width(checkpoint)
    operations = 2 * weights * tokens + 4 * count * width * seen
    if recipe.asks_once:
        # Layers in which questions do not read their text are run once for all of them.
        operations -= recipe.reads_from * (2 * weights // count * asked + 4 * width * own_seen)
    return Work(tokens, operations)


def _lengths(
    checkpoint: Checkpoint, texts: Sequence[str], views: Views
) -> Iterator[tuple[int, list[int]]]:
    """Yield, for each row, how many tokens are shared by its questions, and how many are own."""
    recipe, tokenizer = checkpoint.recipe, checkpoint.tokenizer()
    if recipe.attention == "prefix":
        own = [
            len(recipe.question_template) - 1 + _pieces(tokenizer, view.instruction)
            for view in views
            if view.instruction is not None
        ]
        for text in texts:
            pieces = min(_pieces(tokenizer, text), recipe.max_text_tokens)
            yield len(recipe.text_template) - 1 + pieces, own
        return
    prompts = Prompter(tokenizer, recipe).prompts(texts, views)
    if recipe.attention == "joint":
        for prompt in prompts:
            yield len(prompt.input_ids), []
        return
    for _, group in itertools.groupby(prompts, key=lambda prompt: prompt.text):
        rows = [prompt.input_ids for prompt in group]
        columns = zip(*rows, strict=False)
        shared = sum(1 for _ in itertools.takewhile(lambda ids: len(set(ids)) == 1, columns))
        shared = min(shared, min(map(len, rows)) - 1)
        yield shared, [len(row) - shared for row in rows]


def _pieces(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def _layers(checkpoint: Checkpoint) -> tuple[int, int] | None:
    """Return how many layers are run, and how many weights their matrices have.

    Read from the headers of the safetensors: a matrix with a layer's number in its name. None
    where the checkpoint has an ONNX file alone.
    """
    most = checkpoint.recipe.layer
    numbers: set[int] = set()
    weights = 0
    for path in checkpoint.weights:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118
                number = re.search(r"\.(\d+)\.", name)
                shape = file.get_slice(name).get_shape()
                if (
                    number is None
                    or len(shape) != 2
                    or (most is not None and int(number[1]) >= most)
                ):
                    continue
                numbers.add(int(number[1]))
                weights += shape[0] * shape[1]
    return (len(numbers), weights) if numbers else None


def _width(checkpoint: Checkpoint) -> int:
    """Return the width of all attention heads together, which may differ from the vectors'."""
    config = checkpoint.config
    head = config.get("head_dim")
    return int(config["num_attention_heads"]) * int(head) if head else checkpoint.dimension


def _words() -> list[str]:
    return [word for document in demo_documents() for word in document.text.split()]
