from serving.gateway.metrics import Metrics, format_labels


def test_stages_and_steps_are_timed() -> None:
    now = [0.0]
    metrics = Metrics(lambda job: "toy", lambda: now[0])
    for at, kind, data in [
        (0.0, "queued", {}), (2.0, "running", {}), (5.0, "step", {"stage": "a", "step": 1}),
        (6.0, "step", {"stage": "a", "step": 11}), (7.0, "step", {"stage": "b", "step": 1}), (9.0, "done", {}),
    ]:  # fmt: skip
        now[0] = at
        metrics.listen("j", kind, data)
    text = metrics.text([("tgm_lanes", {}, 2)])
    assert 'tgm_stage_seconds_sum{method="toy",stage="queue"} 2' in text
    assert 'tgm_stage_seconds_sum{method="toy",stage="start"} 3' in text
    assert 'tgm_stage_seconds_sum{method="toy",stage="finish"} 2' in text
    assert 'tgm_step_seconds_count{method="toy"} 10' in text and 'tgm_step_seconds_sum{method="toy"} 1\n' in text
    assert 'tgm_step_seconds_bucket{method="toy",le="0.1"} 10' in text
    assert 'tgm_jobs_ended_total{method="toy",state="done"} 1' in text
    assert "# TYPE tgm_lanes gauge\ntgm_lanes 2\n" in text


def test_labels_are_escaped() -> None:
    assert format_labels((("a", 'x"\\\n'),)) == '{a="x\\"\\\\\\n"}'
