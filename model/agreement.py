"""Reads the kind of a recurrent cell and gives what it learns of a language whose verbs agree with nouns far back.

A sentence is an opening, its subject, and words between; read to its end, it asks for *was* or *were*:

    today softly · cats · near door very behind lamps old red → were

The words between hold nouns of their own, each behind a preposition, with which the verb must not agree.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from model.cells import make_cell

# A plural stands behind its singular, so that plurals have odd numbers.
NOUNS = tuple(
    noun + end for noun in ("cat", "dog", "door", "lamp", "book", "tree", "boat", "song") for end in ("", "s")
)
PREPOSITIONS = ("near", "behind", "under", "with")
PLAIN = ("old", "red", "very", "quite", "softly", "today", "still", "so")
WORDS = (*NOUNS, *PREPOSITIONS, *PLAIN)

# The opening has fewer words than this; without one, every subject would stand at the same step.
_OPENING = 16
# How likely a word between is to begin a phrase with a noun of its own.
_PHRASES = 0.25
# Steps over which the mean loss is taken that ends training.
_RECENT = 20


@dataclass(frozen=True)
class Sentences:
    """B sentences of T words, up to where their verbs would stand.

    words: int64 [T, B]   numbers into ``WORDS``
    plural: bool [B]      whether the subject is, so that *were* is right
    """

    words: npt.NDArray[np.int64]
    plural: npt.NDArray[np.bool_]


def make_sentences(rng: np.random.Generator, count: int, distance: int) -> Sentences:
    """Draw ``count`` sentences with ``distance`` words between the subject and the verb, all equally long."""
    first, subject = len(NOUNS) + len(PREPOSITIONS), int(rng.integers(_OPENING))
    words = rng.integers(first, len(WORDS), (subject + 1 + distance, count))
    words[subject] = rng.integers(len(NOUNS), size=count)
    opened = np.zeros(count, bool)
    for place in range(subject + 1, len(words)):
        words[place, opened] = rng.integers(len(NOUNS), size=opened.sum())
        opened = ~opened & (rng.random(count) < _PHRASES) & (place + 1 < len(words))
        words[place, opened] = rng.integers(len(NOUNS), first, opened.sum())
    return Sentences(words, words[subject] % 2 == 1)


@dataclass(frozen=True)
class Course:
    """How a cell is trained; every cell in the same way."""

    width: int = 64
    layers: int = 2
    """Two, since a depth-gated layer differs from a peephole one only where there is a layer below."""
    batch: int = 64
    steps: int = 300
    solved: float = 0.02
    """Mean loss, in nats, at which training ends before ``steps``."""
    optimiser: str = "Adam"
    """Its name in ``torch.optim``."""
    rate: float = 5e-3
    clip: float = 1.0
    seed: int = 0


class Reader(nn.Module):
    """Words → vectors → cell → how much rather *were* than *was*, as the logarithm of the odds."""

    def __init__(self, kind: str, course: Course, forget: float | None = None) -> None:
        """Make a reader around a cell; ``forget`` is where the biases of an LSTM's forget gates start."""
        super().__init__()
        torch.manual_seed(course.seed)
        self.vectors = nn.Embedding(len(WORDS), course.width)
        self.cell = make_cell(kind, course.width, course.width, course.layers)
        self.verb = nn.Linear(course.width, 1)
        if forget is not None:
            with torch.no_grad():
                for layer in range(course.layers):
                    self.cell.stack[f"bias_ih_l{layer}"][course.width : 2 * course.width] = forget

    def forward(self, vectors: Tensor) -> Tensor:
        """``[T, B, width]``, the vectors of words, to ``[B]``."""
        outputs, _ = self.cell(vectors)
        odds: Tensor = self.verb(outputs[-1])[:, 0]
        return odds

    def read(self, sentences: Sentences) -> Tensor:
        """Give the odds of each sentence, ``[B]``."""
        odds: Tensor = self(self.vectors(torch.from_numpy(sentences.words)))
        return odds


def learn(reader: Reader, distances: Sequence[int], course: Course, label: str = "") -> npt.NDArray[np.float64]:
    """Train on sentences whose distance is drawn from ``distances`` at each step.

    Gives [steps, 2]: the loss in nats, and the norm of its gradient before clipping.
    """
    rng, steps = np.random.default_rng(course.seed), list[tuple[float, float]]()
    optimiser = getattr(torch.optim, course.optimiser)(reader.parameters(), lr=course.rate)
    for _ in tqdm(range(course.steps), desc=label, leave=False):
        sentences = make_sentences(rng, course.batch, int(rng.choice(distances)))
        loss = functional.binary_cross_entropy_with_logits(
            reader.read(sentences), torch.from_numpy(sentences.plural).float()
        )
        optimiser.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(reader.parameters(), course.clip)
        optimiser.step()
        steps.append((loss.item(), float(norm)))
        if len(steps) >= _RECENT and np.mean(steps[-_RECENT:], 0)[0] < course.solved:
            break
    return np.array(steps)


@torch.no_grad()
def accuracy(reader: Reader, distance: int, count: int = 1024) -> float:
    """Give the share of new sentences whose verb is right; 0.5 is chance."""
    right, rng = 0, np.random.default_rng(distance)
    for _ in range(count // 128):
        sentences = make_sentences(rng, 128, distance)
        right += int(((reader.read(sentences) > 0).numpy() == sentences.plural).sum())
    return right / (count // 128 * 128)


def reach(reader: Reader, distance: int, count: int = 64) -> float:
    """Give the norm of the gradient, with respect to the subject's vector, of the loss at the verb; mean of sentences.

    It is divided by the error |p − y|, which is all that the gradient of the loss has beside that of the odds: else the
    gradient of a reader that is always right would be nothing, however far it reaches. In float64, for in float32 it
    would end at 1e-45.
    """
    exact = copy.deepcopy(reader).double()
    sentences = make_sentences(np.random.default_rng(distance), count, distance)
    vectors = exact.vectors(torch.from_numpy(sentences.words)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(exact(vectors).sum(), vectors)
    return float(gradient[-1 - distance].norm(dim=1).mean())
