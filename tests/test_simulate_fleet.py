"""The capacity model: laws of queues that it must obey, where its bottlenecks are, and what failures do."""

import itertools
import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simpy

from scripts import simulate_fleet
from scripts.fleet import calibration, capacity, questions, shard_costs
from scripts.fleet.batches import Gathering, Group, Request, Ticks
from scripts.fleet.calibration import agree, calibrate, without_hops
from scripts.fleet.capacity import (
    Aim,
    Cell,
    Hardware,
    OutOfReachError,
    carried,
    ceiling,
    find_cell,
    fleet,
    highest,
    memory,
)
from scripts.fleet.design import Design
from scripts.fleet.plan import Caution, Closed, Failure, Open, Plan
from scripts.fleet.simulation import Run, simulate
from scripts.fleet.stores import LmdbFile
from scripts.fleet.threads import Crowd, Noise, Thread
from scripts.fleet.times import Measured, ServiceTimes, ShardCosts, TimesError
from scripts.fleet.worker import Worker
from scripts.pages import PageError, fill, rounded
from tests.valkey_server import ValkeyServer

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
TIMES = ServiceTimes(
    model="colours/1",
    step_base=300e-6,
    step_row=15e-6,
    http_request=60e-6,
    http_batch=400e-6,
    store_load_row=5e-6,
    store_commit_base=30e-6,
    store_commit_row=10e-6,
    commit_fsync=500e-6,
    max_batch=64,
    bytes_request=200,
    bytes_answer=400,
    bytes_session_log=100,
    bytes_session_state=2000,
)
# Nothing costs anything but what a test says.
COSTS = ("step_base", "step_row", "http_request", "http_batch")
COSTS += ("store_load_row", "store_commit_base", "store_commit_row")
NOTHING = dict.fromkeys((*COSTS, "commit_fsync"), 0.0)
STRAIGHT = Design(hop=0.0, brief=math.inf, few=0, ticks=1)


def only(**times: Any) -> Plan:
    """Give a plan of one worker that has nothing else to do, always for as long."""
    return Plan(TIMES.model_copy(update=NOTHING | times), design=STRAIGHT, noise=0.0)


def noiseless(**fields: Any) -> Plan:
    return Plan(TIMES, noise=0.0, **fields)


# Service times


def write_times(folder: Path, **members: Any) -> Path:
    path = folder / "service_times.json"
    path.write_text(json.dumps({name: value for name, value in (TIMES.model_dump() | members).items() if value != "-"}))
    return path


def test_service_times_are_read(tmp_path: Path):
    run = {"workers": 2, "connections": 64, "requests_per_second": 5000.0, "p50": 0.01, "p99": 0.02}
    times = ServiceTimes.read(write_times(tmp_path, measured=[run]))
    assert times.measured == (Measured(**run),)
    assert times.model_copy(update={"measured": ()}) == TIMES
    assert times.slug == "colours-1"


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"step_row": "-"}, "step_row: Field required"),
        ({"step_row": -1}, "step_row: .*greater than or equal to 0"),
        ({"max_batch": 0}, "max_batch: .*greater than 0"),
        ({"colour": "red"}, "colour: Extra"),
        ({"measured": [{"workers": 1}]}, "measured.0.connections: Field required"),
    ],
)
def test_a_file_that_is_not_as_described_is_refused(tmp_path: Path, members: dict[str, Any], said: str):
    with pytest.raises(TimesError, match=said):
        ServiceTimes.read(write_times(tmp_path, **members))


def test_a_file_that_is_not_there_or_no_json_is_named(tmp_path: Path):
    with pytest.raises(TimesError, match=r"none\.json: No such file"):
        ServiceTimes.read(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("moves")
    with pytest.raises(TimesError, match=r"text\.json: the file: Invalid JSON"):
        ServiceTimes.read(tmp_path / "text.json")


# Threads and batches


def ends(env: simpy.Environment, events: Sequence[simpy.Event]) -> list[float]:
    """Run, and give when each event was; each is exactly once, or simpy raises."""
    moments = [0.0] * len(events)
    for number, event in enumerate(events):
        event.callbacks.append(lambda _, number=number: moments.__setitem__(number, env.now))
    env.run()
    assert all(event.processed for event in events)
    return moments


def thread(env: simpy.Environment, cores: simpy.Resource | None = None) -> Thread:
    return Thread(env, cores, Noise(random.Random(0), 0.0))


def test_a_thread_does_one_thing_at_a_time_in_order():
    env = simpy.Environment()
    one = thread(env)
    assert ends(env, [one.work("a", 2.0), one.work("b", lambda: 3.0), one.work("a", 1.0)]) == [2, 5, 6]
    assert one.busy == {"a": 3, "b": 3}


def test_a_thread_that_is_lent_does_nothing_and_leaves_its_core_to_others():
    env = simpy.Environment()
    machine = simpy.Resource(env, 1)
    one, other = thread(env, machine), thread(env, machine)
    events = [one.work("a", 0.001), one.lend(), one.work("a", 0.001), other.work("b", 0.002)]
    env.run(until=0.01)
    assert [event.processed for event in events] == [True, True, False, True]
    one.take_back()
    assert ends(env, [one.work("a", 0.001)]) == [pytest.approx(0.012)]


def test_two_threads_share_a_core_by_slices_and_two_cores_not_at_all():
    for cores, last in ((1, 0.02), (2, 0.01)):
        env = simpy.Environment()
        machine = simpy.Resource(env, cores)
        pair = [thread(env, machine) for _ in range(2)]
        moments = ends(env, [one.work("a", 0.001) for _ in range(10) for one in pair])
        assert max(moments) == pytest.approx(last)
        # Neither waits until the other has done all.
        assert abs(moments[-1] - moments[-2]) <= 0.0031


def test_a_crowd_slows_down_who_has_the_last_core_alike_for_some_time():
    env = simpy.Environment()
    machine = simpy.Resource(env, 2)
    speeds = iter([0.5, 0.25])
    crowd = Crowd(env, 0.5, lambda _: next(speeds))
    other, one = thread(env, machine), Thread(env, machine, Noise(random.Random(0), 0.0), crowd)
    other.work("b", 0.018)
    # Until 18 ms both cores are busy; from 10 ms on it is slower still.
    turns = [one.work("a", 0.001) for _ in range(9)]
    assert ends(env, turns) == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.010, 0.014, 0.018, 0.019, 0.020])


def test_noise_keeps_the_mean_and_has_the_deviation_that_was_asked_for():
    for deviation in (0.0, 0.5, 1.0):
        noise = Noise(random.Random(1), deviation)
        drawn = np.array([noise(2.0) for _ in range(20_000)])
        assert drawn.mean() == pytest.approx(2, rel=0.03)
        assert drawn.std() == pytest.approx(2 * deviation, rel=0.05)


def test_a_tick_takes_what_waits_and_a_long_job_blocks_nobody():
    env = simpy.Environment()
    times = TIMES.model_copy(update={"step_base": 1.0, "step_row": 0.0, "max_batch": 3})
    one = thread(env)
    ticks = Ticks(env, one, one, times, math.inf, 0.0)
    moments = ends(env, [ticks.run(Request(steps=steps)) for steps in (4, 1, 1, 1, 1)])
    # Ticks: rows 0 1 2, then 3 4 0, then 0, and 0 again.
    assert moments == [4, 1, 1, 2, 2]
    assert (ticks.sizes.batches, ticks.sizes.rows) == (4, 8)


def test_long_ticks_leave_the_event_loop_free():
    for brief, loop_ends, tick_ends in ((10, 12, 10), (9, 2, 10)):
        env = simpy.Environment()
        loop, engine = thread(env), thread(env)
        times = TIMES.model_copy(update={"step_base": 10.0, "step_row": 0.0})
        ticks = Ticks(env, loop, engine, times, brief, 0.0)
        rows = [ticks.run(Request()) for _ in range(2)]
        env.run(until=0.001)
        assert ends(env, [loop.work("http", 2.0), *rows]) == pytest.approx([loop_ends, tick_ends, tick_ends], abs=0.01)


def test_what_comes_while_a_call_runs_goes_into_the_next():
    env = simpy.Environment()
    groups: list[int] = []

    def call(requests: Sequence[Request]) -> Any:
        groups.append(len(requests))
        yield env.timeout(1.0)
        return [request.shard == 0 for request in requests]

    group = Group(env, call, simpy.Resource(env))
    first = group.run(Request())
    env.run(until=0.5)
    others = [group.run(Request(shard=shard)) for shard in (0, 1, 0)]
    assert ends(env, [first, *others]) == [1, 2, 2, 2]
    assert groups == [1, 3]
    assert [one.value for one in others] == [True, False, True]


def test_what_comes_at_the_same_moment_goes_together():
    env = simpy.Environment()
    loop = thread(env)
    groups: list[int] = []

    def call(requests: Sequence[Request]) -> Any:
        groups.append(len(requests))
        yield env.timeout(1.0)
        return [True] * len(requests)

    group = Group(env, call, simpy.Resource(env))
    ticks = Ticks(env, loop, loop, TIMES, math.inf, 0.0)

    def serve() -> Any:
        yield ticks.run(Request())
        yield group.run(Request())

    ends(env, [env.process(serve()) for _ in range(5)])
    # One tick for all, and then not one commit for the first and another for the rest.
    assert (ticks.sizes.batches, groups) == (1, [5])


def batches_of(most: int, seconds: float) -> tuple[simpy.Environment, Gathering, Thread, list[int]]:
    """Give a gathering, the loop that it shares with others, and the sizes of its batches."""
    env = simpy.Environment()
    loop, sizes = thread(env), []

    def work(requests: Sequence[Request]) -> Any:
        sizes.append(len(requests))
        yield env.timeout(seconds)
        return [request.shard == 0 for request in requests]

    return env, Gathering(env, work, loop, most), loop, sizes


def test_one_batch_follows_another_and_holds_no_more_than_it_may():
    env, gathering, _, sizes = batches_of(3, 1.0)
    rows = [gathering.run(Request(shard=shard)) for shard in (0, 1, 0, 0)]
    env.run(until=0.5)
    rows.append(gathering.run(Request()))
    assert ends(env, rows) == pytest.approx([1, 1, 1, 2, 2], abs=0.001)
    assert sizes == [3, 2]
    assert [row.value for row in rows] == [True, False, True, True, True]


def test_a_batch_lets_in_those_who_are_on_the_way():
    env, gathering, loop, sizes = batches_of(10, 1.0)

    def arrive() -> Any:
        yield loop.work("http", 0.001)
        yield gathering.run(Request())

    ends(env, [gathering.run(Request()) for _ in range(2)])
    ends(env, [env.process(arrive()) for _ in range(4)])
    assert sizes == [2, 4]


# Laws of queues


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_single_rows_of_constant_time_are_an_m_d_1_queue(load: float):
    plan = only(step_base=0.01, max_batch=1)
    run = simulate(plan, Open(load / 0.01, 60_000))
    # Pollaczek and Khinchine, for a service time that does not vary.
    assert run.took.mean() == pytest.approx(0.01 * (1 + load / (2 * (1 - load))), rel=0.04)
    assert run.busy["worker"] == pytest.approx(load, rel=0.02)
    # Who finds nobody waits for nobody.
    assert (run.took < 0.01 + 1e-9).mean() == pytest.approx(1 - load, abs=0.02)


def test_single_rows_of_exponential_time_are_an_m_m_1_queue():
    run = simulate(replace(only(step_base=0.01, max_batch=1), noise=1.0), Open(60, 60_000))
    assert run.took.mean() == pytest.approx(1 / (100 - 60), rel=0.05)
    assert run.quantile(0.99) == pytest.approx(np.log(100) / (100 - 60), rel=0.08)


@pytest.mark.parametrize("shards", [0, 2])
def test_littles_law_holds(shards: int):
    # Those who come by chance see on average what there is on average.
    run = simulate(Plan(TIMES, workers=3, shards=shards), Open(6000, 30_000))
    assert run.per_second == pytest.approx(6000, rel=0.02)
    assert run.in_flight == pytest.approx(run.per_second * run.took.mean(), rel=0.03)
    assert run.in_flight > 3


@pytest.mark.parametrize("connections", [1, 7, 64])
def test_a_closed_loop_has_all_its_connections_in_flight(connections: int):
    client = 20e-6
    run = simulate(Plan(TIMES, workers=2, client=client), Closed(connections, 8000))
    # What is not on its way waits to be sent; the load generator is hardly busy.
    assert run.per_second * (run.took.mean() + client / 2) == pytest.approx(connections, rel=0.05)


def test_a_full_batch_is_as_fast_as_its_step():
    most = ceiling(only(step_base=0.002, step_row=0.0001), Aim(requests=20_000))
    assert most == pytest.approx(64 / (0.002 + 64 * 0.0001), rel=0.05)


def test_connections_that_are_answered_together_wait_for_the_disk_together():
    run = simulate(only(commit_fsync=0.01), Closed(32, 6400))
    assert run.per_second == pytest.approx(32 / 0.01, rel=0.02)
    assert run.rows_of_commit == pytest.approx(32, rel=0.05)
    assert run.took.mean() == pytest.approx(0.01, rel=0.02)


def test_the_seed_decides_everything():
    plan, load = Plan(TIMES, workers=2, shards=2), Open(5000, 2000)
    one, again = simulate(plan, load), simulate(plan, load)
    assert np.array_equal(one.took, again.took)
    assert one.busy == again.busy
    assert not np.array_equal(one.took, simulate(replace(plan, seed=1), load).took)


# Bottlenecks


@pytest.mark.parametrize(
    ("plan", "part"),
    [
        (noiseless().times.model_copy(update={"http_request": 2e-3}), "worker"),
        (noiseless().times.model_copy(update={"step_row": 2e-3}), "engine"),
        (noiseless().times.model_copy(update={"commit_fsync": 50e-3}), "file"),
    ],
)
def test_the_bottleneck_of_a_machine_is_what_takes_longest(plan: ServiceTimes, part: str):
    run = simulate(Plan(plan, noise=0.0, design=Design(aside=0.0)), Closed(128, 5000))
    parts = {name: run.busy[name] for name in ("worker", "engine", "file")}
    assert max(parts, key=lambda name: parts[name]) == part
    # Batches follow each other, so while one thing is busy the others rest.
    assert parts[part] > 0.8
    assert all(share < 0.2 for name, share in parts.items() if name != part)


def test_a_shard_that_is_slow_is_not_helped_by_more_workers():
    aim = Aim(requests=4000)
    slow, fast = (noiseless(workers=2, shards=1, costs=ShardCosts(shard_commit_row=row)) for row in (1e-3, 1e-6))
    for plan, gain in ((slow, 1.0), (fast, 2.0)):
        assert ceiling(replace(plan, workers=4), aim) / ceiling(plan, aim) == pytest.approx(gain, rel=0.12)
    assert simulate(replace(slow, workers=4), Closed(512, 4000)).busy["shard cpu"] > 0.9


def test_cores_are_shared_with_the_load_generator():
    plan = noiseless(workers=2, client=60e-6)
    two, four = (simulate(replace(plan, cores=cores), Closed(256, 10_000)) for cores in (2, 4))
    assert two.per_second < 0.9 * four.per_second
    # The busiest worker's share stands for both.
    assert 1.8 < two.busy["client"] + 2 * (two.busy["worker"] + two.busy["engine"]) < 2.2


def test_sessions_of_other_workers_are_read_and_played_again():
    plan = replace(only(store_foreign_row=20e-6), workers=2)
    some, all_ = (
        simulate(replace(plan, design=replace(STRAIGHT, remember=remember)), Open(100, 2000)).busy["worker load"]
        for remember in (True, False)
    )
    assert some / all_ == pytest.approx(1 / 2, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "waited"),
    [
        # Two moves are too few for a thread, four are not, unless no core is left for it or the disk is slow.
        ({"moves": 2}, True),
        ({"moves": 4}, False),
        ({"moves": 4, "crowded": True}, True),
        ({"moves": 2, "brief": 1e-3}, False),
        ({"moves": 4, "crowded": True, "brief": 1e-3}, True),
        ({"moves": 4, "crowded": True, "brief_if_crowded": 1e-3}, False),
    ],
)
def test_a_brief_commit_keeps_the_event_loop(changes: dict[str, Any], waited: bool):
    env, noise = simpy.Environment(), Noise(random.Random(0), 0.0)
    chosen = {"crowded": False, "brief": 3e-3, "brief_if_crowded": 20e-3} | changes
    times = TIMES.model_copy(update=NOTHING | {"commit_fsync": 2e-3})
    design = replace(STRAIGHT, few=4, brief=chosen["brief"], brief_if_crowded=chosen["brief_if_crowded"])
    store = LmdbFile(env, times, fsync=True, noise=noise)
    worker = Worker(env, times, design, store, None, noise, crowded=chosen["crowded"])
    moves = [env.process(worker.serve(Request(known=True))) for _ in range(chosen["moves"])]
    env.run(until=1e-3)
    (end, *_) = ends(env, [worker.python.work("http", 1e-4), *moves])
    assert end == pytest.approx(2.1e-3 if waited else 1.1e-3, rel=0.02)


def test_a_crowd_costs_more_each_time_that_it_doubles():
    costs = {}
    for connections in (64, 128, 512):
        run = simulate(only(http_request=50e-6, http_crowd=10e-6), Closed(connections, 12_000))
        costs[connections] = (run.busy["worker http"] + run.busy["worker step"]) / run.per_second
    # Hardly anybody waits for the first of a batch to come, or for the last to be answered, with all others there.
    assert costs[64] == pytest.approx(50e-6, rel=0.01)
    assert costs[512] - costs[128] == pytest.approx(2 * 10e-6, rel=0.2)


def test_the_disk_costs_latency_and_hardly_any_throughput():
    plan = Plan(TIMES, shards=1)
    durable, fast = (simulate(replace(plan, fsync=fsync), Open(500, 4000)) for fsync in (True, False))
    assert durable.quantile(0.5) > fast.quantile(0.5) + TIMES.commit_fsync / 2
    aim = Aim(requests=8000)
    assert ceiling(plan, aim) > 0.85 * ceiling(replace(plan, fsync=False), aim)


def test_games_that_are_read_anew_take_a_step_for_every_move():
    plan = only(step_row=1e-3, max_batch=1)
    run = simulate(replace(plan, rebuilt_plies=9), Open(20, 4000))
    # A move alone takes 1 to 9 steps, five on average.
    assert run.busy["worker"] == pytest.approx(20 * 5e-3, rel=0.05)


# Failures

FLEET = Plan(TIMES, workers=4, shards=2, seed=3)
AWAY = 1.0


def broken(*failures: Failure, rate: float = 2000, caution: Caution | None = None, plan: Plan = FLEET) -> Run:
    return simulate(plan, Open(rate, int(4 * rate)), failures, caution)


@pytest.mark.parametrize(
    ("plan", "rate", "failures", "outcome"),
    [
        (FLEET, 2000, [], "answered"),
        (FLEET, 2000, [Failure("worker", 1.0, AWAY)], "lost"),
        (FLEET, 2000, [Failure("shard", 1.0, AWAY)], "away"),
        (FLEET, 2000, [Failure("worker", 1.0, AWAY, 2), Failure("shard", 1.3, AWAY, 1)], "lost"),
        (replace(FLEET, design=Design(max_requests=2)), 4000, [], "refused"),
    ],
)
def test_every_request_is_answered_once_whatever_fails(plan: Plan, rate: float, failures: Any, outcome: str):
    run = broken(*failures, rate=rate, plan=plan)
    assert run.outcomes["answered"] == 4 * rate
    assert run.outcomes[outcome] > 0
    # The first tenth is left out, and nothing else.
    assert len(run.took) == len(run.sent) == 0.9 * 4 * rate
    assert (run.took > 0).all()


def test_a_dead_worker_delays_what_it_had_by_the_patience_of_clients():
    caution = Caution(timeout=0.3, noticed=0.5)
    run = broken(Failure("worker", 1.0, AWAY), caution=caution)
    late = run.took > 0.2
    # Sent to it until it was noticed, or running when it died.
    assert ((run.sent[late] > 0.9) & (run.sent[late] < 1.5)).all()
    during = (run.sent > 1.0) & (run.sent < 1.5)
    assert late[during].mean() == pytest.approx(1 / 4, abs=0.05)
    assert (run.took[late] > 0.3).all()
    # A second try may meet it as well.
    assert run.took.max() < 4 * 0.3 + 0.2


def test_a_worker_that_is_back_works_again():
    healthy, run = broken(), broken(Failure("worker", 0.5, 0.5), caution=Caution(timeout=0.1, noticed=0.2))
    after = run.sent > 2
    assert run.took[after].mean() == pytest.approx(healthy.took[healthy.sent > 2].mean(), rel=0.1)


def test_a_shard_that_is_away_delays_its_own_sessions_alone():
    run = broken(Failure("shard", 1.0, AWAY, 1), rate=1000)
    during = (run.sent > 1.0) & (run.sent < 1.0 + AWAY)
    its = run.shard == 1
    # None of it is answered before it is back.
    assert (run.sent + run.took)[during & its].min() > 1.0 + AWAY
    assert run.took[during & ~its].max() < 0.1
    assert run.took[run.sent > 3.2].max() < 0.1


def test_who_waits_longer_each_time_asks_less_often():
    often, seldom = (
        broken(Failure("shard", 1.0, 2.0), caution=Caution(backoff=0.1, growth=growth)).outcomes["away"]
        for growth in (1.0, 2.0)
    )
    assert seldom < often / 2


def test_a_file_has_no_shards_that_fail():
    with pytest.raises(ValueError, match="a file has neither"):
        simulate(Plan(TIMES), Open(10, 10), [Failure("shard", 1.0, 1.0)])


# Capacity

QUICK = Aim(requests=3000)


def test_the_highest_load_is_just_low_enough():
    plan = Plan(TIMES, shards=1)
    most = highest(plan, QUICK)
    assert 0.5 * ceiling(plan, QUICK) < most < ceiling(plan, QUICK)
    assert simulate(plan, Open(most, 3000)).quantile(0.99) <= QUICK.p99
    assert simulate(plan, Open(1.3 * most, 10_000)).quantile(0.99) > QUICK.p99


def test_what_no_load_holds_is_said():
    slow = Plan(TIMES.model_copy(update={"commit_fsync": 0.2}), shards=1)
    assert highest(slow, QUICK) == 0
    with pytest.raises(OutOfReachError, match=r"colours/1: a p99 of 0\.05 s is out of reach"):
        find_cell(slow, QUICK)


def test_a_cell_has_as_many_workers_as_its_shard_bears(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(capacity, "_WORKERS", (1, 2, 4))
    assert find_cell(Plan(TIMES, shards=1, costs=ShardCosts(shard_commit_row=1e-3)), QUICK).workers == 1
    cell = find_cell(Plan(TIMES.model_copy(update={"http_request": 500e-6}), shards=1, design=STRAIGHT), QUICK)
    assert cell.workers == 4
    assert cell.planned == pytest.approx(QUICK.fill * cell.highest)
    assert cell.run.quantile(0.99) < QUICK.p99


@pytest.fixture(scope="module")
def cell() -> Cell:
    return Cell(5, 20_000.0, 14_000.0, simulate(Plan(TIMES, shards=1), Open(1000, 500)))


def test_a_fleet_grows_in_proportion(cell: Cell):
    few, many = (fleet(sessions, cell, TIMES, ShardCosts(), Hardware()) for sessions in (14e6, 14e8))
    # A cell of 14,000 moves/s carries ten times as many sessions that move every ten seconds.
    assert (few["cells"], few["workers"], few["shards"], few["binds"]) == (100, 500, 200, "load")
    assert many["workers"] == 100 * few["workers"]
    assert many["bytes_per_second"]["clients"] == 14e7 * 600
    assert many["bytes_per_second"]["shards"] == 14e7 * 2100 * 3
    assert 1 < few["fullest_cell"] < many["fullest_cell"] < 1.02


@pytest.mark.parametrize(
    ("hardware", "binds"),
    [
        (Hardware(shard_memory=1e6), "memory of the shard"),
        (Hardware(shard_network=1e6), "network of the shard"),
    ],
)
def test_what_carries_least_decides_how_many_cells_there_are(cell: Cell, hardware: Hardware, binds: str):
    found = fleet(1e6, cell, TIMES, ShardCosts(), hardware)
    least = carried(cell, TIMES, ShardCosts(), hardware)[binds]
    assert found["binds"] == binds
    assert found["cells"] == int(np.ceil(1e6 / least)) > 1e6 / 140_000


def test_memory_of_games_that_ended_is_counted_by_how_long_they_are_kept():
    hardware = Hardware(every=10, plies=80)
    found = memory(8e6, TIMES, ShardCosts(shard_overhead=100), hardware, state_ttl=100, session_ttl=1000)
    # Ten thousand games end every second.
    assert found["live"] == 8e6 * 2200
    assert found["live, only moves"] == 8e6 * 200
    assert found["ended, a day of moves"] == 1e4 * 86_400 * 200
    assert found["as the settings are"] == 8e6 * 2200 + 1e4 * (100 * 2000 + 1000 * 200)


# Calibration


def measured(plan: Plan, workers: int, connections: int) -> Measured:
    """Give what would be measured if the world were as simulated."""
    run = simulate(replace(plan, workers=workers, seed=11), Closed(connections, 4000))
    return Measured(
        workers=workers,
        connections=connections,
        requests_per_second=run.per_second,
        p50=run.quantile(0.5),
        p99=run.quantile(0.99),
    )


def test_what_is_fitted_to_one_worker_foretells_two(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calibration, "_REQUESTS", 1500)
    monkeypatch.setattr(calibration, "_NOISES", (0.0, 0.5, 1.0))
    world = Plan(TIMES, cores=2, client=20e-6, noise=0.5, design=Design(hop=200e-6))
    runs = tuple(measured(world, workers, number) for workers, number in itertools.product((1, 2), (1, 16, 64)))
    # Benchmarks see the ways between threads, and the processor of the disk, as a part of HTTP.
    bare = without_hops(world).times
    both = {name: 2 * getattr(TIMES, name) - getattr(bare, name) for name in ("http_request", "http_batch")}
    seen = TIMES.model_copy(update={"measured": runs} | both)
    guess = replace(world, times=seen, noise=0.0)
    assert any(abs(agree(guess, run, 2000).p99 - 1) > 0.15 for run in runs)
    fitted = calibrate(guess)
    assert fitted.noise == 0.5
    for name in both:
        assert getattr(fitted.times, name) == pytest.approx(getattr(TIMES, name), rel=0.15)
    found = [agree(fitted, run, 2000).described() for run in runs]
    assert all(one["within"] == {"throughput": True, "p99": True} for one in found)


def test_without_measured_runs_nothing_is_fitted():
    plan = Plan(TIMES, cores=2)
    assert calibrate(plan) is plan


# The page


def test_tables_are_put_between_their_marks_and_nothing_else_is_touched():
    page = "# A\n<!-- begin one -->\nold\n<!-- end one -->\nprose\n<!-- begin two -->\n<!-- end two -->\n"
    once = fill(page, {"one": "1 \\1", "two": "2"}, "begin ", "end ")
    assert once == (
        "# A\n<!-- begin one -->\n1 \\1\n<!-- end one -->\nprose\n<!-- begin two -->\n2\n<!-- end two -->\n"
    )
    assert fill(once, {"one": "1 \\1", "two": "2"}, "begin ", "end ") == once
    with pytest.raises(PageError, match="0 places for three"):
        fill(page, {"three": "3"}, "begin ", "end ")


def test_numbers_are_written_with_four_digits():
    given = {"a": [1.23456789, True, None, 3], 5: (1e-7 / 3,)}
    assert rounded(given, 4) == {"a": [1.235, True, None, 3], "5": [3.333e-08]}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Every question, asked of a slow service, whose seconds are soon simulated."""
    monkeypatch.setattr(calibration, "_REQUESTS", 200)
    monkeypatch.setattr(capacity, "_WORKERS", (1, 2))
    monkeypatch.setattr(questions, "_CONNECTIONS", (1, 8))
    monkeypatch.setattr(questions, "_FILLS", (0.3, 0.9))
    slow = {"http_request": 20e-3, "max_batch": 4}
    run = {"connections": 4, "requests_per_second": 40, "p50": 0.1, "p99": 0.2}
    runs = [run | {"workers": workers} for workers in (1, 2)]
    paths = []
    for model in ("colours/1", "chess/2"):
        (folder := tmp_path / model.replace("/", "-")).mkdir()
        paths.append(str(write_times(folder, model=model, measured=runs, **slow)))
    return ["--times", *paths, "--requests", "200", "--p99", "0.5"]


def test_results_pictures_and_page_are_written_and_can_be_written_again(quick: list[str], tmp_path: Path):
    page = tmp_path / "docs" / "scaling.md"
    page.parent.mkdir()
    page.write_text(PAGE.read_text())
    command = [*quick, "--out", str(tmp_path / "docs" / "scaling")]
    simulate_fleet.main(command)
    results = json.loads((page.parent / "scaling" / "results.json").read_text())
    assert [one["model"] for one in results["models"]] == ["colours/1", "chess/2"]
    for one in results["models"]:
        assert one.keys() > {question.__name__ for question in questions.QUESTIONS}
        for name in ("connections", "load", "failures"):
            assert (page.parent / "scaling" / f"{one['slug']}-{name}.png").read_bytes().startswith(b"\x89PNG")
            assert f"(scaling/{one['slug']}-{name}.png)" in page.read_text()
    first = page.read_text()
    assert first.count("**chess/2**") == 9
    assert f"| workers, a core each | {results['models'][0]['fleets']['fleets'][0]['workers']:,} |" in first
    simulate_fleet.write(page.parent / "scaling", results["settings"], results["models"])
    assert page.read_text() == first


def test_the_check_says_which_runs_are_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    plan = Plan(TIMES, cores=2, client=25e-6)
    right = agree(plan, Measured(workers=2, connections=8, requests_per_second=1, p50=1, p99=1), 300).run
    run = {"workers": 2, "connections": 8, "p50": 0.01, "p99": right.quantile(0.99)}
    for factor, off in ((1.0, False), (2.0, True)):
        path = write_times(tmp_path, measured=[run | {"requests_per_second": factor * right.per_second}])
        command = ["--times", str(path), "--check", "--as-given", "--requests", "300", "--client", "25e-6"]
        if off:
            with pytest.raises(SystemExit, match="off by more than 15 %"):
                simulate_fleet.main(command)
        else:
            simulate_fleet.main(command)
        assert capsys.readouterr().out.endswith("off\n") == off


def test_two_files_of_one_model_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = str(write_times(tmp_path))
    with pytest.raises(SystemExit):
        simulate_fleet.main(["--times", path, path])
    assert "two files are of the same model" in capsys.readouterr().err


def test_a_file_that_cannot_be_used_is_said_in_a_line(tmp_path: Path):
    with pytest.raises(SystemExit, match=r"simulate_fleet: .*step_row: Field required"):
        simulate_fleet.main(["--times", str(write_times(tmp_path, step_row="-"))])


# Costs of a shard


def test_costs_of_a_valkey_server_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with ValkeyServer(tmp_path / "valkey") as server:
        shard_costs.main(["--url", server.url, "--sessions", "50", "--calls", "40", "--rows", "8", "--state", "500"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {f"{where}_{name}" for where in ("shard", "client") for name in ("load_row", "commit_row")} < found.keys()
    assert found["client_commit_row"] > 0
    assert found["load_ms"] > 0
    assert 0 < found["shard_overhead"] < 5000
