from outcomes import example

from imgdedup_spark.report.metrics import metrics_text


def test_samples_add_up_and_labels_are_escaped():
    summary = {**example().summary, "passed_over": {'no "picture"\n': {"count": 2, "examples": []}}}
    text = metrics_text(summary, "out\\put", 1700000000.5)
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    fates = {name: float(value) for name, value in samples.items() if "fate=" in name}
    assert sum(fates.values()) == float(samples['imgdedup_rows_in{output="out\\\\put"}']) == 6
    assert samples['imgdedup_passed_over{output="out\\\\put",reason="no \\"picture\\"\\n"}'] == "2"
    assert samples['imgdedup_stage_seconds{output="out\\\\put",stage="hash"}'] == "1.5"
    assert text.count("# TYPE imgdedup_rows gauge\n") == 1 and text.endswith("\n")


def test_a_run_without_stages_has_no_empty_metric():
    summary = {**example().summary, "passed_over": {}, "stages": {}}
    assert "passed_over" not in metrics_text(summary, "o", 0) and "stage" not in metrics_text(summary, "o", 0)
