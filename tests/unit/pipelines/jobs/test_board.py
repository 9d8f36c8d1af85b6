from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.jobs.board import KEEP_FINISHED, KEEP_FINISHED_S, LOOK_S, MIN_GAP_S, RING, SILENT_S, TAIL, ProgressBoard
from pipelines.jobs.models import Needs, Plan, Progress, Unit, rfc3339
from pipelines.jobs.registry import weights_of

AT = 1_700_000_000_000


@pytest.fixture
def board() -> ProgressBoard:
    """A board with one running job, ``job``, of two units of equal weight; its next sequence number is 2."""
    board = ProgressBoard(epoch=7)
    board.state("job", "running", AT, now=0.0)
    board.planned("job", {"a": 10.0, "b": 10.0}, done=[])
    return board


def report(fraction: float, unit: str = "a", fence: int = 1, job_id: str = "job", **more) -> Progress:
    return Progress(job_id=job_id, unit=unit, fence=fence, fraction=fraction, **more)


def told(board: ProgressBoard, job_id: str = "job") -> list[dict]:
    return board.since(job_id, board.epoch, 0) or []


def newest(board: ProgressBoard) -> dict:
    snapshot = board.snapshot("job")
    assert snapshot is not None
    return snapshot


def test_reports_close_together_become_one_event(board):
    for step in range(20):
        board.report(report(step / 100), AT, now=1.0 + step / 1000)
    assert [event["progress"] for event in told(board)] == [0.0, 0.0]


def test_what_was_held_back_is_told_when_due_with_the_latest_value(board):
    board.report(report(0.1), AT, now=1.0)
    board.report(report(0.2), AT, now=1.01)
    board.report(report(0.3), AT, now=1.02)
    board.due(AT, now=1.0 + MIN_GAP_S)
    assert [event["progress"] for event in told(board)] == [0.0, 0.05, 0.15]


def test_due_says_when_to_come_again(board):
    board.report(report(0.1), AT, now=1.0)
    board.report(report(0.2), AT, now=1.1)
    assert board.due(AT, now=1.1) == 1.0 + MIN_GAP_S


def test_a_unit_that_is_done_again_counts_by_its_new_reports(board):
    board.unit_done("job", "a", AT, now=1.0)
    board.unit_done("job", "b", AT, now=2.0)
    board.planned("job", {"a": 10.0, "b": 10.0}, done=["b"])
    board.report(report(0.5, fence=2, frames=10, elapsed_s=1.0), AT, now=3.0)
    assert newest(board)["fps"] == 10.0


def test_due_has_nothing_to_wait_for_when_nothing_is_held_back(board):
    assert board.due(AT, now=5.0) is None


def test_due_tells_nothing_twice(board):
    board.report(report(0.1), AT, now=1.0)
    board.report(report(0.2), AT, now=1.1)
    board.due(AT, now=2.0)
    board.due(AT, now=3.0)
    assert len(told(board)) == 3


def test_a_change_of_state_is_told_at_once(board):
    board.report(report(0.1), AT, now=1.0)
    board.state("job", "verifying", AT, now=1.001)
    assert [event["state"] for event in told(board)] == ["running", "running", "verifying"]


def test_a_state_carries_what_was_held_back(board):
    board.report(report(0.1), AT, now=1.0)
    board.report(report(0.5), AT, now=1.001)
    board.state("job", "verifying", AT, now=1.002)
    assert told(board)[-1]["progress"] == 0.25
    assert board.due(AT, now=9.0) is None


moves = st.one_of(
    st.tuples(st.just("report"), st.floats(0, 1), st.integers(1, 3), st.sampled_from("ab")),
    st.tuples(st.just("state"), st.sampled_from(["running", "verifying", "paused", "queued"])),
    st.tuples(st.just("done"), st.sampled_from("ab")),
    st.tuples(st.just("due")),
)


def played(steps) -> ProgressBoard:
    board = ProgressBoard(epoch=7)
    board.state("job", "queued", AT, now=0.0)
    board.planned("job", {"a": 1.0, "b": 3.0}, done=[])
    for gap_s, (kind, *what) in steps:
        now = gap_s
        if kind == "report":
            board.report(report(what[0], fence=what[1], unit=what[2]), AT, now)
        elif kind == "state":
            board.state("job", what[0], AT, now)
        elif kind == "done":
            board.unit_done("job", what[0], AT, now)
        else:
            board.due(AT, now)
    return board


timed = st.lists(st.tuples(st.floats(0, 0.3), moves), max_size=60).map(
    lambda steps: [(sum(gap for gap, _ in steps[: i + 1]), what) for i, (_, what) in enumerate(steps)]
)


@given(timed)
def test_a_job_s_events_are_numbered_without_holes(steps):
    assert [event["seq"] for event in told(played(steps))] == list(range(1, len(told(played(steps))) + 1))


@given(timed)
def test_progress_never_goes_back(steps):
    values = [event["progress"] for event in told(played(steps))]
    assert values == sorted(values)


@given(timed)
def test_a_client_gets_at_most_four_progress_events_a_second(steps):
    board = played(steps)
    length_s = steps[-1][0] if steps else 0.0
    assert sum(event["type"] == "progress" for event in told(board)) <= length_s / MIN_GAP_S + 1


def test_a_late_report_of_an_older_lease_changes_nothing(board):
    board.report(report(0.4, fence=5, frames=10, elapsed_s=1.0), AT, now=1.0)
    board.report(report(0.9, fence=4, frames=99, elapsed_s=1.0), AT, now=2.0)
    assert newest(board)["progress"] == 0.2
    assert newest(board)["fps"] == 10


def test_a_unit_done_again_doesn_t_move_the_bar_back(board):
    board.report(report(0.8, fence=1), AT, now=1.0)
    board.report(report(0.1, fence=2), AT, now=2.0)
    assert newest(board)["progress"] == 0.4


def test_a_report_after_the_unit_is_done_changes_nothing(board):
    board.unit_done("job", "a", AT, now=1.0)
    board.report(report(0.3), AT, now=2.0)
    assert newest(board)["progress"] == 0.5


def test_a_job_isn_t_whole_before_it_succeeded(board):
    board.unit_done("job", "a", AT, now=1.0)
    board.unit_done("job", "b", AT, now=2.0)
    assert newest(board)["progress"] == 0.999
    board.state("job", "succeeded", AT, now=3.0)
    assert newest(board)["progress"] == 1.0


def test_units_count_by_their_weight():
    board = ProgressBoard(epoch=1)
    board.state("job", "running", AT, now=0.0)
    board.planned("job", {"short": 1.0, "long": 3.0}, done=["short"])
    assert newest(board)["progress"] == 0.25


def test_a_report_of_a_finished_job_changes_nothing(board):
    board.state("job", "cancelled", AT, now=1.0)
    board.report(report(0.9), AT, now=2.0)
    assert [event["state"] for event in told(board)] == ["running", "cancelled"]


def test_a_report_of_an_unknown_job_is_dropped(board):
    board.report(report(0.9, job_id="other"), AT, now=2.0)
    assert board.snapshot("other") is None
    assert board.cursor == 1


def test_the_end_tells_its_error(board):
    board.state("job", "failed", AT, now=1.0, error={"code": "encode_failed"})
    assert told(board)[-1]["error"] == {"code": "encode_failed"}


def test_since_gives_what_comes_after(board):
    for second in range(1, 5):
        board.report(report(second / 10), AT, now=float(second))
    assert [event["seq"] for event in board.since("job", 7, 3) or []] == [4, 5]


def test_since_the_newest_is_empty_not_unknown(board):
    assert board.since("job", 7, 1) == []


@pytest.mark.parametrize(
    ("job_id", "epoch", "seq"),
    [
        pytest.param("job", 6, 1, id="another life of the registry"),
        pytest.param("job", 7, 2, id="a number not given out yet"),
        pytest.param("other", 7, 0, id="a job it doesn't know"),
    ],
)
def test_since_asks_for_a_snapshot_where_it_can_t_tell(board, job_id, epoch, seq):
    assert board.since(job_id, epoch, seq) is None


def test_since_asks_for_a_snapshot_when_the_ring_has_turned(board):
    for second in range(RING):
        board.report(report(0.5), AT, now=1.0 + second)
    assert board.since("job", 7, 0) is None
    assert len(board.since("job", 7, 1) or []) == RING


def test_a_snapshot_stands_for_all_events_so_far(board):
    board.report(report(0.4), AT, now=1.0)
    snapshot = newest(board)
    assert (snapshot["type"], snapshot["epoch"], snapshot["seq"], snapshot["progress"]) == ("snapshot", 7, 2, 0.2)


def test_followers_get_the_events_of_all_jobs_in_order(board):
    board.state("other", "queued", AT, now=0.5)
    board.report(report(0.2), AT, now=1.0)
    cursor, events = board.after(0) or (None, [])
    assert cursor == 3
    assert [(event["job_id"], event["seq"]) for event in events] == [("job", 1), ("other", 1), ("job", 2)]
    assert board.after(3) == (3, [])


def test_a_follower_that_is_too_far_behind_is_told_so(board):
    for number in range(TAIL):
        board.state("job", "queued", AT, now=float(number))
    assert board.after(0) is None
    assert board.after(1) is not None


def test_a_cursor_of_the_future_is_refused(board):
    assert board.after(2) is None


# What remains


@dataclass
class Schedule:
    """Units done on slots as a dispatcher would, told to a board twice a second."""

    lengths_s: list[float]
    slots: Callable[[float], int] = lambda _: 2
    weights: list[float] = field(default_factory=list)
    join_s: float = 0.0
    join_weight: float = 0.0
    step_s: float = 0.5
    board: ProgressBoard = field(default_factory=lambda: ProgressBoard(epoch=1))

    def play(self) -> list[tuple[float, float | None]]:
        """The ETA at each step, and the step's time; the last is the end."""
        names = [f"chunk-{number}" for number in range(len(self.lengths_s))]
        weights = dict(zip(names, self.weights or self.lengths_s, strict=True))
        if self.join_s:
            weights["join"] = self.join_weight or self.join_s
        self.board.state("job", "running", AT, now=0.0)
        self.board.planned("job", weights, done=[])
        left = dict(zip(names, self.lengths_s, strict=True))
        done_s = dict.fromkeys((*names, "join"), 0.0)
        now, told = 0.0, []
        while left:
            now += self.step_s
            if list(left) == ["join"]:
                self.board.state("job", "verifying", AT, now)
            for name in list(left)[: self.slots(now)]:
                length_s = done_s[name] + left[name]
                left[name] -= self.step_s
                done_s[name] += self.step_s
                if left[name] <= 1e-9:
                    del left[name]
                    self.board.unit_done("job", name, AT, now)
                else:
                    made = report(done_s[name] / length_s, unit=name, elapsed_s=done_s[name])
                    self.board.report(made, AT, now)
            if not left and self.join_s and not done_s["join"]:
                left["join"] = self.join_s
            told.append((now, newest(self.board)["eta_s"]))
        return told

    def error_at(self, share: float) -> float:
        """How wrong the ETA is at a share of the time, as a share of the time that is really left."""
        told = self.play()
        end_s = told[-1][0]
        now, eta_s = next((now, eta_s) for now, eta_s in told if now >= share * end_s)
        assert eta_s is not None
        return abs(eta_s - (end_s - now)) / (end_s - now)


CHUNKS = [60.0] * 12
UNEVEN = [40.0, 75.0, 60.0, 55.0, 70.0, 45.0, 65.0, 50.0, 80.0, 60.0, 58.0, 62.0]


@pytest.mark.parametrize("wrong_by", [1.0, 3.0, 1 / 3])
@pytest.mark.parametrize(
    ("lengths_s", "slots"),
    [
        pytest.param(CHUNKS, 2, id="equal chunks"),
        pytest.param(UNEVEN, 2, id="uneven chunks"),
        pytest.param([4.0] * 12, 2, id="short chunks"),
        pytest.param(CHUNKS, 1, id="one slot"),
        pytest.param(CHUNKS, 4, id="four slots"),
        pytest.param([300.0], 2, id="one unit alone"),
    ],
)
def test_the_eta_is_right_within_a_fifth_from_a_quarter_to_three_quarters(lengths_s, slots, wrong_by):
    weights = [length_s * wrong_by for length_s in lengths_s]
    for share in (0.25, 0.5, 0.75):
        assert Schedule(lengths_s, lambda _: slots, weights).error_at(share) < 0.2


def test_the_eta_follows_when_other_jobs_take_slots():
    schedule = Schedule(CHUNKS, lambda now: 2 if now < 120 else 1)
    told = dict(schedule.play())
    end_s = max(told)
    assert told[119.0] == pytest.approx(300 - 60, rel=0.2)
    for now in (160.0, 240.0, 400.0):
        assert told[now] == pytest.approx(end_s - now, rel=0.2)


def test_the_last_units_run_alone_and_the_eta_knows():
    told = dict(Schedule([10.0, 10.0, 100.0], lambda _: 2).play())
    assert told[15.0] == pytest.approx(95.0, rel=0.1)


@pytest.mark.parametrize("wrong_by", [1.0, 3.0])
def test_a_long_join_counts_and_runs_by_itself(wrong_by):
    weights = [length_s * wrong_by for length_s in CHUNKS]
    for share in (0.25, 0.5, 0.75):
        assert Schedule(CHUNKS, weights=weights, join_s=200, join_weight=200 * wrong_by).error_at(share) < 0.2


def test_a_join_s_own_pace_counts_once_it_is_known():
    told = dict(Schedule(CHUNKS, join_s=200, join_weight=50).play())
    assert told[460.0] == pytest.approx(100.0, rel=0.1)


def test_units_taken_over_from_another_job_make_the_rest_no_faster(board):
    names = [f"chunk-{number}" for number in range(10)]
    board.planned("job", dict.fromkeys(names, 60.0), done=[])
    for name in names[:8]:
        board.unit_done("job", name, AT, now=1.0)
    board.report(report(0.5, unit=names[8], elapsed_s=30.0), AT, now=31.0)
    assert newest(board)["eta_s"] == pytest.approx(90.0, rel=0.1)


def test_a_pause_doesn_t_count_as_time_worked(board):
    for second in range(1, 31):
        board.report(report(second / 60, elapsed_s=second), AT, now=float(second))
    before_s = newest(board)["eta_s"]
    board.state("job", "paused", AT, now=31.0)
    board.state("job", "running", AT, now=1000.0)
    for second in range(1, 13):
        board.report(report(second / 60, fence=2, elapsed_s=second), AT, now=1000.0 + second)
    assert before_s == pytest.approx(90.0, rel=0.05)
    assert newest(board)["eta_s"] == pytest.approx(before_s + 18.0, rel=0.05)


def test_a_unit_done_again_is_left_to_do(board):
    board.report(report(0.8, elapsed_s=48), AT, now=48.0)
    board.report(report(0.1, fence=2, elapsed_s=6), AT, now=54.0)
    assert newest(board)["eta_s"] == pytest.approx(54.0 + 60.0, rel=0.1)


def test_the_time_after_a_unit_s_last_report_counts(board):
    """It is verified, which tells nothing: 20 of 60 seconds."""
    for second in range(1, 41):
        board.report(report(second / 50, elapsed_s=second), AT, now=float(second))
    board.unit_done("job", "a", AT, now=60.0)
    assert newest(board)["eta_s"] == pytest.approx(60.0, rel=0.1)


def test_there_is_no_eta_before_there_is_progress(board):
    board.report(report(0.01, elapsed_s=5.0), AT, now=10.0)
    assert newest(board)["eta_s"] is None


def test_nothing_is_left_when_all_units_are_done(board):
    board.report(report(0.5, elapsed_s=5.0), AT, now=5.0)
    board.unit_done("job", "a", AT, now=10.0)
    board.unit_done("job", "b", AT, now=11.0)
    assert newest(board)["eta_s"] == 0.0


# Another plan


def test_another_plan_doesn_t_move_the_bar_back(board):
    board.unit_done("job", "a", AT, now=1.0)
    board.unit_done("job", "b", AT, now=2.0)
    board.planned("job", {"whole": 100.0}, done=[])
    board.report(report(0.1, unit="whole", elapsed_s=10.0), AT, now=12.0)
    assert newest(board)["progress"] == 0.999


def test_another_plan_s_eta_is_that_of_its_own_units():
    board = ProgressBoard(epoch=1)
    board.state("job", "running", AT, now=0.0)
    board.planned("job", {"a": 10.0, "join": 10.0}, done=[])
    board.report(report(0.5, elapsed_s=500.0), AT, now=500.0)
    board.unit_done("job", "a", AT, now=1000.0)
    board.state("job", "verifying", AT, now=1000.0)
    board.report(report(0.9, unit="join", elapsed_s=10.0), AT, now=1010.0)
    board.planned("job", {"whole": 10.0, "join": 10.0}, done=[])
    board.state("job", "running", AT, now=1011.0)
    for second in range(1, 51):
        board.report(report(second / 100, unit="whole", elapsed_s=second), AT, now=1011.0 + second)
    assert newest(board)["eta_s"] == pytest.approx(150.0, rel=0.1)


@pytest.mark.parametrize("seconds", [0.5, 30.0])
def test_a_join_has_a_share_of_the_work_if_it_takes_a_second_or_more(seconds):
    plan = Plan(units=(Unit(name="a", needs=Needs(seconds=10)),), join=Needs(seconds=seconds))
    assert weights_of(plan) == ({"a": 10} if seconds < 1 else {"a": 10, "join": 30})


@pytest.mark.parametrize("state", ["paused", "queued", "succeeded", "failed", "cancelled"])
def test_what_doesn_t_run_has_no_speed_and_no_eta(board, state):
    board.report(report(0.2, frames=50, elapsed_s=1.0, position_s=2.0), AT, now=10.0)
    board.report(report(0.6, frames=100, elapsed_s=2.0, position_s=4.0), AT, now=12.0)
    board.state("job", state, AT, now=13.0)
    assert [newest(board)[name] for name in ("fps", "speed", "eta_s")] == [None, None, None]


def test_the_speeds_of_running_units_add_up(board):
    board.report(report(0.2, frames=50, elapsed_s=1.0, position_s=2.0), AT, now=10.0)
    board.report(report(0.2, unit="b", frames=60, elapsed_s=2.0, position_s=3.0), AT, now=12.0)
    assert (newest(board)["fps"], newest(board)["speed"]) == (80.0, 3.5)


def test_a_unit_that_is_done_adds_no_speed(board):
    board.report(report(0.2, frames=50, elapsed_s=1.0, position_s=2.0), AT, now=10.0)
    board.report(report(0.2, unit="b", frames=60, elapsed_s=2.0, position_s=3.0), AT, now=11.0)
    board.unit_done("job", "b", AT, now=12.0)
    assert (newest(board)["fps"], newest(board)["speed"]) == (50.0, 2.0)
    board.unit_done("job", "a", AT, now=13.0)
    assert (newest(board)["fps"], newest(board)["speed"]) == (None, None)


def test_a_unit_that_fell_silent_adds_no_speed_and_that_is_told(board):
    board.report(report(0.2, unit="b", frames=60, elapsed_s=2.0), AT, now=10.0)
    board.report(report(0.2, frames=50, elapsed_s=1.0), AT, now=11.0)
    board.due(AT, now=10.0 + SILENT_S)
    assert told(board)[-1]["fps"] == 80.0
    board.due(AT, now=10.0 + SILENT_S + LOOK_S)
    assert told(board)[-1]["fps"] == 50.0
    board.due(AT, now=11.1 + SILENT_S + LOOK_S)
    assert told(board)[-1]["fps"] is None


def test_a_unit_that_seldom_reports_isn_t_silent(board):
    board.report(report(0.2, frames=50, elapsed_s=1.0), AT, now=10.0)
    board.report(report(0.4, frames=100, elapsed_s=6.0), AT, now=15.0)
    board.due(AT, now=29.0)
    assert newest(board)["fps"] == 16.67
    board.due(AT, now=31.0)
    assert newest(board)["fps"] is None


def test_what_was_paused_adds_no_speed_when_the_job_goes_on(board):
    board.report(report(0.2, frames=50, elapsed_s=1.0), AT, now=10.0)
    board.state("job", "paused", AT, now=10.5)
    board.state("job", "running", AT, now=11.0)
    assert newest(board)["fps"] is None


def test_a_finished_job_is_forgotten_after_a_while(board):
    board.state("job", "succeeded", AT, now=10.0)
    board.due(AT, now=10.0 + KEEP_FINISHED_S)
    assert board.knows("job")
    board.due(AT, now=10.1 + KEEP_FINISHED_S)
    assert not board.knows("job")


def test_of_finished_jobs_only_the_newest_are_kept(board):
    board.state("failed", "failed", AT, now=1.0)
    for number in range(KEEP_FINISHED - 1):
        board.state(f"short-{number}", "succeeded", AT, now=2.0)
    assert board.knows("failed")
    board.state("job", "succeeded", AT, now=3.0)
    assert not board.knows("failed")
    assert newest(board)["state"] == "succeeded"


def test_an_end_that_is_told_twice_counts_once(board):
    for _ in range(KEEP_FINISHED + 1):
        board.state("job", "succeeded", AT, now=1.0)
    assert board.knows("job")
    board.due(AT, now=1.1 + KEEP_FINISHED_S)
    assert not board.knows("job")


def test_the_end_of_a_job_tells_how_far_it_came(board):
    board.report(report(0.2), AT, now=1.0)
    board.report(report(0.8), AT, now=1.01)
    board.state("job", "failed", AT, now=1.02)
    assert newest(board)["progress"] == 0.4


def test_a_job_s_ring_is_bounded(board):
    for second in range(3 * RING):
        board.state("job", "running", AT, now=float(second))
    assert board.since("job", 7, 3 * RING + 1 - RING) is not None
    assert board.since("job", 7, 3 * RING - RING) is None


def test_progress_tells_when_the_newest_report_in_it_was_made(board):
    board.report(report(0.1, at=AT - 5), AT, now=1.0)
    board.report(report(0.2, at=AT + 20), AT, now=1.01)
    board.report(report(0.3, at=AT + 30), AT, now=1.02)
    board.due(AT, now=1.0 + MIN_GAP_S)
    assert [event.get("reported_at") for event in told(board)] == [None, rfc3339(AT - 5), rfc3339(AT + 30)]


def test_progress_that_no_report_is_behind_tells_no_report(board):
    board.report(report(0.1, at=AT), AT, now=1.0)
    board.unit_done("job", "a", AT, now=2.0)
    assert "reported_at" not in told(board)[-1]
