"""Rock, paper, scissors: every habit as it is described, games drawn by it, and the best prediction by brute force."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.artifact import Artifact
from model.dataset import Packed, Source, pack
from model.evaluation import score
from model.games.records import read_records
from model.generators.bayes import Bayes, predict
from model.generators.habits import HABITS, THROWS, Population, Throws
from model.generators.rock_paper_scissors import GAME, PAIRS, TOKENS, draw_games, draw_throws, read_throws
from model.ngram import NGram
from model.runner import StepRunner
from scripts import rock_paper_scissors

NAMED = {habit.name: habit for habit in HABITS}
SURE = {"r": (1, 0, 0), "p": (0, 1, 0), "s": (0, 0, 1), "rp": (0.5, 0.5, 0), "rs": (0.5, 0, 0.5), "ps": (0, 0.5, 0.5)}
ANY = (1 / 3, 1 / 3, 1 / 3)
FEW = Population(tuple(NAMED[name] for name in ("favours paper", "copies", "goes round upwards")), (0.1, 0.4), 0.2)


def throws(word: str) -> Throws:
    """Give one game's throws from their first letters."""
    return np.array([["rps".index(letter) for letter in word]], np.int64).reshape(1, len(word))


def packed_games(games: list[list[str]]) -> Packed:
    """Give games of tokens as training reads them."""
    lengths = [len(game) for game in games]
    tokens = np.array([TOKENS.index(token) for game in games for token in game], np.int32)
    nothing = np.zeros((len(tokens), 0), np.uint8)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Packed(tokens, np.zeros(len(tokens), np.uint8), nothing, np.zeros((len(games), 0), np.uint8), offsets)


@pytest.fixture(scope="module")
def games() -> Packed:
    """Three hundred games of the whole population."""
    return packed_games(list(draw_games(300, seed=4)))


# Habits


@pytest.mark.parametrize(
    ("name", "own", "other", "next_throw"),
    [
        ("throws anything", "rps", "rrr", ANY),
        ("favours rock", "", "", (0.7, 0.15, 0.15)),
        ("favours paper", "ss", "rr", (0.15, 0.7, 0.15)),
        ("favours scissors", "p", "r", (0.15, 0.15, 0.7)),
        ("goes round upwards", "ps", "rr", "r"),
        ("goes round downwards", "sr", "rr", "s"),
        ("never repeats", "rp", "rr", "rs"),
        ("throws each twice", "rp", "rr", "p"),
        ("throws each twice", "rpp", "rrr", "s"),
        ("repeats 3 rounds later", "rpsp", "rrrr", "p"),
        ("repeats 4 rounds later", "rpsp", "rrrr", "r"),
        ("repeats 5 rounds later", "rpsp", "rrrr", ANY),
        ("copies", "rr", "rp", "p"),
        ("beats the last throw", "rr", "rs", "r"),
        ("loses to the last throw", "rr", "rs", "p"),
        ("stays when it won, else goes upwards", "rp", "rr", "p"),
        ("stays when it won, else goes upwards", "pr", "rr", "p"),
        ("stays when it won, else goes upwards", "pr", "rp", "p"),
        ("stays when it won, else goes downwards", "rs", "rp", "s"),
        ("stays when it won, else goes downwards", "rs", "rr", "p"),
        ("stays until it won", "rr", "rs", "p"),
        ("stays until it won", "rr", "rp", "r"),
        ("stays until it won", "rr", "rr", "r"),
        ("beats what is thrown most", "rrrr", "pprs", "s"),
        ("beats what is thrown most", "rrr", "psr", ANY),
        ("beats what is thrown most", "rr", "pr", "ps"),
        ("throws its own rarest", "rrpps", "rrrrr", "s"),
        ("throws its own rarest", "rrp", "rrr", "s"),
        ("throws its own rarest", "r", "r", "ps"),
        ("beats what came after such a throw", "rrrrr", "rsrsr", "r"),
        ("beats what came after such a throw", "rrrrrr", "rsrprr", ANY),
        ("beats what came after such a throw", "rrr", "rps", ANY),
        ("beats the usual reply to itself", "rprsr", "spspr", "s"),
    ],
)
def test_a_habit_throws_what_its_name_says(
    name: str, own: str, other: str, next_throw: str | tuple[float, ...]
) -> None:
    expected = SURE[next_throw] if isinstance(next_throw, str) else next_throw
    assert NAMED[name].chances(throws(own), throws(other))[0] == pytest.approx(expected)


def test_every_habit_is_described_above() -> None:
    marks = test_a_habit_throws_what_its_name_says.pytestmark
    assert {case[0] for case in marks[0].args[1]} == set(NAMED)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 2**32))
def test_chances_are_chances_and_games_side_by_side_do_not_touch(rounds: int, count: int, seed: int) -> None:
    own, other = np.random.default_rng(seed).integers(3, size=(2, count, rounds))
    chances = Population().chances(own, other)
    assert chances.shape == (3, len(HABITS), count, 3)
    assert (chances > 0).all()
    assert chances.sum(3) == pytest.approx(1)
    alone = Population().chances(own[-1:], other[-1:])
    assert np.array_equal(chances[:, :, -1:], alone)


def test_what_is_thrown_at_random_is_the_noise() -> None:
    copying = Population((NAMED["copies"],), (0.3,)).chances(throws("rr"), throws("rp"))
    assert copying[0, 0, 0] == pytest.approx([0.1, 0.8, 0.1])


# Games


def test_the_same_seed_draws_the_same_games_and_more_games_begin_with_them() -> None:
    games = list(draw_games(105, seed=1))
    assert list(draw_games(105, seed=1)) == games
    assert list(draw_games(3, seed=1)) == games[:3]
    assert len(set(map(tuple, [*games, *draw_games(5, seed=2)]))) == 110


def test_games_have_thirty_to_a_hundred_and_twenty_rounds_of_nine_tokens(games: Packed) -> None:
    assert (games.lengths.min(), games.lengths.max()) == (30, 120)
    assert set(games.tokens) == set(range(9))
    assert tuple(sorted(TOKENS)) == GAME.vocabulary.names
    assert [TOKENS[4], tuple(PAIRS[4])] == ["rock-rock", (0, 0)]


def test_players_throw_by_their_habits_but_for_noise_and_drift() -> None:
    steady = Population((NAMED["goes round upwards"],), (0.3,), drift=0.0)
    own, other = draw_throws(steady, np.random.default_rng(0), 200, 60)
    for player in (own, other):
        assert np.mean((player[:, 1:] - player[:, :-1]) % 3 == 1) == pytest.approx(0.8, abs=0.015)
    assert np.mean(own == other) == pytest.approx(1 / 3, abs=0.1)


def test_a_habit_is_drawn_anew_with_the_chance_of_the_drift() -> None:
    turning = Population((NAMED["favours rock"], NAMED["favours paper"]), (0.0,), drift=0.1)
    first, _ = draw_throws(turning, np.random.default_rng(0), 4000, 12)
    kept = 0.9**11  # the chance that eleven changes of round left the habit alone
    alike, apart = (0.7**2 + 0.15**2) / 2, ((0.7 + 0.15) / 2) ** 2
    rock_twice = np.mean((first[:, 0] == 0) & (first[:, 11] == 0))
    assert rock_twice == pytest.approx(kept * alike + (1 - kept) * apart, abs=0.02)
    assert abs(rock_twice - alike) > 0.03


def test_throws_are_read_back_from_tokens() -> None:
    packed = packed_games([["rock-paper"], ["scissors-rock", "paper-paper", "rock-scissors"]])
    first, second = read_throws(packed, np.array([1, 0]))
    assert first.tolist() == [[2, 1, 0], [0, 0, 0]]
    assert second.tolist() == [[0, 1, 2], [1, 0, 0]]


# The best prediction


def chance_of_throws(population: Population, own: Throws, other: Throws) -> float:
    """Give the chance of one player's throws as a sum over noises and over every sequence of habits."""
    rounds, habits = own.shape[1], len(population.habits)
    steps = [population.chances(own[:, :ply], other[:, :ply])[:, :, 0, own[0, ply]] for ply in range(rounds)]
    total = 0.0
    for noise in range(len(population.noises)):
        for path in itertools.product(range(habits), repeat=rounds):
            chance = 1 / len(population.noises) / habits
            for ply, habit in enumerate(path):
                chance *= steps[ply][noise, habit]
                if ply:
                    chance *= population.drift / habits + (1 - population.drift) * (path[ply - 1] == habit)
            total += chance
    return total


def predicted_chance(population: Population, own: Throws, other: Throws) -> float:
    chances = predict(population, own, other)[0]
    return math.prod(chances[ply, throw] for ply, throw in enumerate(own[0]))


@pytest.mark.parametrize("seed", range(6))
def test_the_prediction_is_that_of_brute_force_over_pairs_of_habits(seed: int) -> None:
    first, second = np.random.default_rng(seed).integers(3, size=(2, 1, 5))
    pair = predicted_chance(FEW, first, second) * predicted_chance(FEW, second, first)
    expected = chance_of_throws(FEW, first, second) * chance_of_throws(FEW, second, first)
    assert pair == pytest.approx(expected, rel=1e-12)


def test_the_chances_of_all_games_of_two_rounds_are_one() -> None:
    total = 0.0
    for rounds in itertools.product(range(3), repeat=4):
        first, second = np.array([rounds[:2]]), np.array([rounds[2:]])
        total += predicted_chance(Population(), first, second) * predicted_chance(Population(), second, first)
    assert total == pytest.approx(1)


def test_scores_are_ln_p_of_each_token_in_the_order_of_the_vocabulary() -> None:
    packed = packed_games([["rock-paper", "paper-paper"], ["rock-paper", "paper-paper", "scissors-rock"]])
    *_, last = Bayes(FEW).walk(packed, [0, 1])
    first, second = throws("rps"), throws("ppr")
    assert (last.games.tolist(), last.ply) == ([1], 2)
    for token, name in enumerate(GAME.vocabulary.names):
        one, other = (THROWS.index(throw) for throw in name.split("-"))
        p = predict(FEW, first, second)[0, 2, one] * predict(FEW, second, first)[0, 2, other]
        assert last.logits[0, token] == pytest.approx(math.log(p), rel=1e-5)


def test_no_n_gram_predicts_better_and_the_prediction_knows_how_sure_it_is(games: Packed) -> None:
    everything = np.arange(len(games))
    steps = list(Bayes().walk(games, everything))
    nll = score(GAME, games, everything, steps).raw_nll
    counted = packed_games(list(draw_games(600, seed=5)))
    baseline = score(GAME, games, everything, NGram(GAME, counted, range(len(counted))).walk(games, everything)).raw_nll
    assert nll.mean() < baseline.mean() - 0.1
    entropy = np.concatenate([-(np.exp(step.logits) * step.logits).sum(1) for step in steps])
    # −ln p less its entropy has the mean 0 and does not hang together from round to round.
    assert abs(nll.mean() - entropy.mean()) < 4 * nll.std() / math.sqrt(len(nll))


def test_of_what_is_given_a_chance_of_p_the_share_p_comes_true(games: Packed) -> None:
    p, hit = list[float](), list[bool]()
    for step in Bayes().walk(games, np.arange(len(games))):
        thrown = games.tokens[games.offsets[step.games] + step.ply]
        p += np.exp(step.logits.max(1)).tolist()
        hit += (step.logits.argmax(1) == thrown).tolist()
    sure, right = np.array(p), np.array(hit)
    for low in (0.1, 0.3, 0.5, 0.7):
        band = (sure >= low) & (sure < low + 0.2)
        assert band.sum() > 300
        assert right[band].mean() == pytest.approx(sure[band].mean(), abs=4 * math.sqrt(0.25 / band.sum()))


def test_a_wrong_idea_of_the_players_predicts_worse(games: Packed) -> None:
    everything = np.arange(len(games))
    right, wrong = (
        score(GAME, games, everything, Bayes(population).walk(games, everything)).raw_nll.mean()
        for population in (Population(), Population(drift=0.3))
    )
    assert right < wrong - 0.05


def test_the_model_that_ships_stands_between_counting_and_the_best_prediction(games: Packed) -> None:
    artifact = Artifact.load(Path(__file__).parents[1] / "artifacts" / "rock_paper_scissors" / "1")
    assert artifact.game.vocabulary.names == TOKENS
    some = np.arange(100)
    walks = [StepRunner(artifact.graph, artifact.manifest.state).walk(GAME, games, some), Bayes().walk(games, some)]
    model, best = (score(GAME, games, some, steps).raw_nll.mean() for steps in walks)
    figures = {name: about["figures"]["all"]["nll_raw"] for name, about in artifact.manifest.figures.items()}
    assert best < model < figures["n-gram"] - 0.1
    assert model == pytest.approx(figures["rock_paper_scissors/1"], abs=0.1)


# The command


def test_the_command_writes_games_and_says_their_floor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "games.jsonl"
    rock_paper_scissors.main(["--games", "40", "--seed", "6", "--out", str(out)])
    expected = list(draw_games(40, seed=6))
    assert [record.moves for record in read_records(out)] == expected
    assert capsys.readouterr().out == f"40 games, {sum(map(len, expected)):,} rounds in {out}\n"
    rock_paper_scissors.main(["--floor", str(out)])
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| all |"))
    packed, _ = pack(GAME, [Source(out)])
    nll = score(GAME, packed, range(40), Bayes().walk(packed, range(40))).raw_nll
    assert f"{nll.mean():.3f} (" in row


def test_records_of_something_else_have_no_floor(tmp_path: Path) -> None:
    path = tmp_path / "games.jsonl"
    path.write_text('["e2e4", "e7e5"]\n')
    with pytest.raises(SystemExit, match="'e2e4' is not in the vocabulary of 9 moves"):
        rock_paper_scissors.main(["--floor", str(path)])


def test_one_thing_is_asked_for_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        rock_paper_scissors.main(["--games", "3"])
    assert "--out --floor" in capsys.readouterr().err
