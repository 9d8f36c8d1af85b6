import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.jobs.board import KEEP_FINISHED_S, MIN_GAP_S, RING, TAIL, ProgressBoard
from pipelines.jobs.models import Progress

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


def test_the_eta_is_reckoned_from_the_first_report(board):
    board.report(report(0.2), AT, now=10.0)
    board.report(report(0.6), AT, now=12.0)
    assert newest(board)["eta_s"] == 7.0  # 20 % of the job in 2 s; 70 % are left


def test_there_is_no_eta_before_there_is_progress(board):
    board.report(report(0.2), AT, now=10.0)
    assert newest(board)["eta_s"] is None


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


def test_a_finished_job_is_forgotten_after_a_while(board):
    board.state("job", "succeeded", AT, now=10.0)
    board.due(AT, now=10.0 + KEEP_FINISHED_S)
    assert board.knows("job")
    board.due(AT, now=10.1 + KEEP_FINISHED_S)
    assert not board.knows("job")


def test_a_job_s_ring_is_bounded(board):
    for second in range(3 * RING):
        board.state("job", "running", AT, now=float(second))
    assert board.since("job", 7, 3 * RING + 1 - RING) is not None
    assert board.since("job", 7, 3 * RING - RING) is None
