"""Data: the files of a training become examples, counted, and held against evaluation sets.

Nothing is passed over in silence: broken rows are named or refused, texts that are in an evaluation
set are left out and named, and every file's counts go into the report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from inbedder_retrieval.errors import SourceError
from inbedder_retrieval.training.config import TrainConfig, TrainData
from inbedder_retrieval.training.contamination import EvaluationTexts
from inbedder_retrieval.training.examples import Example, data_files, read_examples

__all__ = ["FileCounts", "Prepared", "read_data"]

# What a config's files begin with that come with this package, and where they are.
PACKAGED = "packaged:"
TEXTS = Path(__file__).parent / "texts"


class FileCounts(BaseModel):
    """What one file gave.

    Attributes:
        repeat: how often an epoch shows a text; the mean, where sources differ.
        texts, pairs: what is trained on or held out.
        bad: rows that are broken.
        repeated: pairs that were there already.
        unanswered: pairs whose answer had no word left after cleaning.
        contaminated: texts that are in an evaluation set, and were left out.
    """

    file: str
    about: str
    repeat: float
    rows: int
    texts: int
    pairs: int
    bad: int
    repeated: int
    unanswered: int
    contaminated: int


@dataclass
class Prepared:
    """Examples for training.

    Attributes:
        repeats: how often an epoch shows each example.
        held_out: examples that are kept from it.
        bad: what is wrong with each broken row.
        contaminated: each text that was left out, and where its match is.
    """

    examples: list[Example] = field(default_factory=list)
    repeats: list[float] = field(default_factory=list)
    held_out: list[Example] = field(default_factory=list)
    files: list[FileCounts] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    contaminated: list[str] = field(default_factory=list)

    def digest(self) -> str:
        """Return 16 hexadecimal digits of the examples."""
        digest = hashlib.blake2b(digest_size=8)
        for example, repeat in zip(self.examples, self.repeats, strict=True):
            digest.update(repr((example.text, example.pairs, repeat)).encode())
        return digest.hexdigest()


def read_data(
    config: TrainConfig,
    given: Sequence[str | Path],
    *,
    against: Sequence[str | Path] = (),
    skip_bad: bool = False,
) -> Prepared:
    """Read what a model is trained on.

    Args:
        given: files, or folders. Where the config names files, they are looked for in the folders;
            files are taken besides. Otherwise every file in a folder is taken.
        against: evaluation files, none of whose texts may be trained on.
        skip_bad: go on without broken rows, which are in the result.

    Raises:
        SourceError: a file is not there or cannot be read, or a row is broken.
    """
    found = Prepared()
    evaluation = EvaluationTexts(against) if against else None
    for path, about in _chosen(config, given):
        read = read_examples(path, clean=config.clean)
        if read.bad and not skip_bad:
            count = len(read.bad)
            raise SourceError(
                f"{read.bad[0]}. Mend it, or use --skip-bad to go on without "
                f"({count} of {read.rows} rows cannot be read)"
            )
        found.bad += read.bad
        examples = read.examples
        matches = evaluation.matches(one.text for one in examples) if evaluation else []
        for match in matches:
            kind = "is" if match.exact else f"holds {match.share:.0%} of"
            found.contaminated.append(f"{examples[match.text].place} {kind} {match.where}")
        out = {match.text for match in matches}
        examples = [one for number, one in enumerate(examples) if number not in out]
        found.examples += examples
        repeats = [about.repeat_of.get(one.source, about.repeat) for one in examples]
        found.repeats += repeats
        found.files.append(
            FileCounts(
                file=path.name,
                about=about.about,
                repeat=round(float(np.mean(repeats)), 4) if repeats else about.repeat,
                rows=read.rows,
                texts=len(examples),
                pairs=sum(len(one.pairs) for one in examples),
                bad=len(read.bad),
                repeated=read.repeated,
                unanswered=read.unanswered,
                contaminated=len(out),
            )
        )
    _hold_out(found, config)
    return found


def _chosen(config: TrainConfig, given: Sequence[str | Path]) -> list[tuple[Path, TrainData]]:
    if not given:
        raise SourceError("there is no data; give a file or folder of examples")
    # Before patterns are tried: a name that is nothing is refused.
    folders = [Path(one) for one in given if Path(one).is_dir()]
    files = [Path(one) for one in given if not Path(one).is_dir()]
    whole = TrainData(files="*")
    if not config.data or not folders:
        return [(path, whole) for path in data_files(given)]
    found = [(path, whole) for path in data_files(files)]
    for about in config.data:
        own = about.files.removeprefix(PACKAGED)
        places = folders if own == about.files else [TEXTS]
        paths = sorted(path for folder in places for path in folder.glob(own))
        if not paths:
            raise SourceError(
                f"the config asks for {own}, and {', '.join(map(str, places))} has no "
                "such file; put it there, or give files with --data"
            )
        found += [(path, about) for path in data_files(paths)]
    return found


def _hold_out(found: Prepared, config: TrainConfig) -> None:
    """Keep some texts from training, a tenth at most, by the config's seed."""
    count = min(config.held_out, len(found.examples) // 10)
    random = np.random.default_rng([config.seed, 1])
    # A text that is in two files must not be on both sides.
    chosen = {
        found.examples[number].text
        for number in random.choice(len(found.examples), count, replace=False)
    }
    both = list(zip(found.examples, found.repeats, strict=True))
    held = {one.text: one for one, _ in reversed(both) if one.text in chosen}
    found.held_out = list(held.values())
    kept = [(one, repeat) for one, repeat in both if one.text not in chosen]
    found.examples = [one for one, _ in kept]
    found.repeats = [repeat for _, repeat in kept]
