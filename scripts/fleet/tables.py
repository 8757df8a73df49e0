"""Reads the answers for all models and gives the tables of docs/scaling.md."""

from collections.abc import Callable, Sequence
from typing import Any

from scripts.fleet.capacity import LOAD
from scripts.pages import table

Answer = dict[str, Any]


def sections(settings: Answer, models: Sequence[Answer], folder: str) -> dict[str, str]:
    """Give every table by its name; pictures are in ``folder``, as seen from the page."""
    named: dict[str, Callable[[Answer], str]] = {
        "check": _check,
        "parts": _parts,
        "cell": _cell,
        "fleets": _fleets,
        "memory": _memory,
        "spread": _spread,
        "rebuilt": _rebuilt,
        "losses": _losses,
        "failures": _failures,
    }
    texts = {name: _of_all(models, write) for name, write in named.items()}
    pictures = {"check": "connections", "cell": "load", "failures": "failures"}
    for name, picture in pictures.items():
        shown = (f"![{picture}: {one['model']}]({folder}/{one['slug']}-{picture}.png)" for one in models)
        texts[name] += "\n\n" + "\n".join(shown)
    return texts | {"settings": _settings(settings, models)}


def _of_all(models: Sequence[Answer], write: Callable[[Answer], str]) -> str:
    return "\n\n".join(f"**{one['model']}**\n\n{write(one)}" for one in models)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.1f}" if seconds < 0.1 else f"{1000 * seconds:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _gain(share: float) -> str:
    """Give a gain; what is less than chance makes of it from one simulation to another is none."""
    return "–" if share < 0.02 else _percent(share)


def _large(number: float, unit: str = "") -> str:
    """Give a number with three digits and a prefix: 12.3 G."""
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {prefix}{unit}"
    return f"{number:.3g} {unit}".strip()


def _verdict(within: Answer) -> str:
    off = [name for name, right in within.items() if not right]
    return "yes" if not off else f"no: {' and '.join(off)}"


def _check(answers: Answer) -> str:
    if not answers["check"]:
        return "Nothing was measured of it."
    head = (
        "workers",
        "connections",
        "requests/s measured",
        "simulated",
        "p99 measured, ms",
        "simulated",
        "within 15 %",
    )
    rows = [
        (
            str(one["measured"]["workers"]),
            str(one["measured"]["connections"]),
            f"{one['measured']['requests_per_second']:,.0f}",
            f"{one['simulated']['requests_per_second']:,.0f} ({one['ratio']['throughput']:.2f})",
            _ms(one["measured"]["p99"]),
            f"{_ms(one['simulated']['p99'])} ({one['ratio']['p99']:.2f})",
            _verdict(one["within"]),
        )
        for one in answers["check"]
    ]
    return table(head, rows, texts=0)


def _parts(answers: Answer) -> str:
    parts: Answer = answers["parts"]
    head = ["half the cost of", *(f"{where}, {what}" for where in parts for what in ("full", "alone"))]
    names = next(iter(parts.values()))["more"]
    return table(
        head,
        [
            (name, *(_gain(parts[where][what][name]) for where in parts for what in ("more", "sooner")))
            for name in names
        ],
    )


def _cell(answers: Answer) -> str:
    cell = answers["fleets"]["cell"]
    run, busy = cell["run"], cell["run"]["busy"]
    rows = [
        ("workers with one shard", str(cell["workers"])),
        ("moves/s with which p99 just holds", f"{cell['highest']:,.0f}"),
        ("moves/s that are planned for", f"{cell['planned']:,.0f}"),
        ("p50 and p99 then, ms", f"{_ms(run['p50'])} and {_ms(run['p99'])}"),
        ("rows of a tick, of a commit", f"{run['rows_of_tick']:.1f}, {run['rows_of_commit']:.1f}"),
        ("busy: a worker's Python, its engine's thread", f"{_percent(busy['worker'])}, {_percent(busy['engine'])}"),
        ("busy: the shard's processor, its disk", f"{_percent(busy['shard cpu'])}, {_percent(busy['shard disk'])}"),
        *((f"live sessions that fit: {what}", _large(most)) for what, most in answers["fleets"]["carried"].items()),
    ]
    return table(("a cell", ""), rows)


def _fleets(answers: Answer) -> str:
    fleets = answers["fleets"]["fleets"]
    p99 = answers["fleets"]["cell"]["run"]["p99"]
    gains = answers["parts"]["cell"]["more"]
    first = max(gains, key=lambda name: gains[name])
    rows: list[tuple[str, Callable[[Answer], str]]] = [
        ("moves/s", lambda one: _large(one["moves_per_second"])),
        ("cells", lambda one: f"{one['cells']:,}"),
        ("workers, a core each", lambda one: f"{one['workers']:,}"),
        ("shards, replicas included", lambda one: f"{one['shards']:,}"),
        ("p99 of a cell, ms", lambda _: _ms(p99)),
        ("memory of live sessions, one copy", lambda one: _large(one["memory"]["live"], "B")),
        ("network, clients", lambda one: _large(8 * one["bytes_per_second"]["clients"], "bit/s")),
        ("network, shards", lambda one: _large(8 * one["bytes_per_second"]["shards"], "bit/s")),
        ("cores of balancers", lambda one: f"{one['balancer_cores']:,}"),
        ("load of the fullest cell, of the mean", lambda one: f"{one['fullest_cell']:.3f}"),
        ("breaks first", lambda one: one["binds"] if one["binds"] != LOAD else f"{LOAD}: {first}"),
    ]
    head = ("live sessions", *(_large(one["sessions"]) for one in fleets))
    return table(head, [(name, *(write(one) for one in fleets)) for name, write in rows])


def _memory(answers: Answer) -> str:
    fleets = answers["fleets"]["fleets"]
    head = ("one copy of", *(f"{_large(one['sessions'])} live sessions" for one in fleets))
    kinds = {
        "live": "live sessions, moves and state",
        "live, only moves": "live sessions, moves alone",
        "ended, a day of moves": "games that ended, moves alone, for each day that they are kept",
        "as the settings are": "all, if nobody deletes anything and the times to live are as they are by default",
    }
    rows = [(text, *(_large(one["memory"][kind], "B") for one in fleets)) for kind, text in kinds.items()]
    return table(head, rows)


def _spread(answers: Answer) -> str:
    head = ("shards that each worker sends to", "p50, ms", "p99, ms", "most moves/s of a worker", "rows of a commit")
    rows = [
        (
            str(one["shards"]),
            _ms(one["p50"]),
            _ms(one["p99"]),
            f"{one['ceiling_of_a_worker']:,.0f}",
            f"{one['rows_of_commit']:.1f}",
        )
        for one in answers["spread"]
    ]
    return table(head, rows, texts=0)


def _rebuilt(answers: Answer) -> str:
    kinds = answers["rebuilt"]
    rows: list[tuple[str, Callable[[Answer], str]]] = [
        ("moves/s of a worker with which p99 holds", lambda one: f"{one['highest_of_a_worker']:,.0f}"),
        ("bytes of a session in a shard", lambda one: f"{one['bytes_of_a_session']:,.0f}"),
        ("bytes of a move to and from shards", lambda one: f"{one['bytes_of_a_move']:,.0f}"),
    ]
    return table(("state", *kinds), [(name, *(write(one) for one in kinds.values())) for name, write in rows])


def _losses(answers: Answer) -> str:
    head = ("workers gone, of " + str(answers["losses"][0]["workers"]), "p50, ms", "p99, ms", "refused and tried again")
    rows = [
        (str(one["gone"]), _ms(one["p50"]), _ms(one["p99"]), f"{one['outcomes'].get('refused', 0):,}")
        for one in answers["losses"]
    ]
    return table(head, rows, texts=0)


def _failures(answers: Answer) -> str:
    found = answers["failures"]
    head = (
        "failure",
        "sessions",
        "later than aimed at",
        "slowest, ms",
        "late until, s after it began",
        "tries that failed",
    )
    rows = []
    for name, failure in found["failures"].items():
        failed = sum(number for outcome, number in failure["outcomes"].items() if outcome != "answered")
        for whose, one in failure["sessions"].items():
            until = "–" if one["late_until"] is None else f"{one['late_until'] - found['begins']:.1f}"
            rows.append((name, whose, _percent(one["late"]), _ms(one["slowest"]), until, f"{failed:,}"))
    return table(head, rows, texts=2)


def _settings(settings: Answer, models: Sequence[Answer]) -> str:
    """Give what was measured, chosen and assumed, so that a reader can take issue with it."""
    fitted = {name for one in models for name in one["found"]}
    rows = [
        (group, f"`--{name.replace('_', '-')}`", _setting(value))
        for group, chosen in settings.items()
        for name, value in chosen.items()
        if name not in fitted
    ]
    rows += [
        (f"of {one['model']}", f"`{name}`", _setting(value)) for one in models for name, value in one["found"].items()
    ]
    return table(("", "setting", "value"), rows, texts=2)


def _setting(value: float | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value * 1e6:g}e-6" if 0 < value < 0.01 else f"{value:,g}" if value < 1e6 else f"{value:.3g}"
