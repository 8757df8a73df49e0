"""Reads what is to be told of some games, and of who played them, and gives one HTML page that needs nothing else."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from model.evaluation.calibration import format_calibration
from model.evaluation.plots import draw_calibration
from model.evaluation.profile_plots import draw_profile
from model.evaluation.readings import Reading, Surprise, draw_curve

# Nats beyond which a move is a surprise: it was given less than one chance in a hundred.
SURPRISE = 4.6
# Whose picture is drawn: the players with the most moves.
_PICTURES = 6


@dataclass(frozen=True)
class Story:
    """What a page tells.

    title: whose games these are, such as the name of the file;  model: ``name/version``
    players: the names of each game's two players, "" if unknown
    figures, calibration: of all moves, as `describe` gives them;  profiles: as `profile_players` gives them
    games: the moves of each game, which goes by its number among ``players``
    """

    title: str
    model: str
    players: Sequence[tuple[str, str]]
    figures: Mapping[str, Any]
    calibration: dict[str, Any]
    profiles: Mapping[str, Mapping[str, Any]]
    surprises: Sequence[Surprise]
    games: Mapping[int, Sequence[Reading]]


def write_page(story: Story) -> str:
    """Give the page; names and moves are escaped, there is no script, and nothing is loaded from elsewhere."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    by_moves = sorted(story.profiles, key=lambda name: -story.profiles[name]["plies"])
    return environment.get_template("page.html").render(
        story=story,
        limit=SURPRISE,
        said=format_calibration(story.calibration),
        calibration=_picture(draw_calibration(story.model, story.calibration)),
        pictures={name: _picture(draw_profile(name, story.profiles[name])) for name in by_moves[:_PICTURES]},
        ordered=sorted(story.profiles.items(), key=lambda item: item[1]["z"]),
        curves={number: draw_curve(readings, SURPRISE) for number, readings in story.games.items()},
    )


def _picture(figure: Figure) -> str:
    """Give a figure as an address that holds the picture itself."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
