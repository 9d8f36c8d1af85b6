from pipelines.media.child import _sendable


def test_an_outcome_that_is_no_json_is_a_failure():
    assert _sendable({"result": {"level": float("inf")}})["error"]["code"] == "internal"
    assert _sendable({"result": {"level": 1.5}}) == {"result": {"level": 1.5}}
