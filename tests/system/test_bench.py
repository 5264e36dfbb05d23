"""What ``spoel bench`` keeps of what it measured."""

import json

from spoel_local.bench import Result, keep


def test_a_report_is_kept_under_its_benchmarks_name_and_the_next_takes_its_place(tmp_path):
    result = Result(what="a figure", value=2.0, unit="ms", target=3.0, met=True, at_most=True)
    for version in ("0.1.0", "0.2.0"):
        report = {"machine": "one", "version": version, "results": [result.model_dump(mode="json")]}
        path = keep(tmp_path, "tiny", report)
        assert path == tmp_path / "results" / "tiny.json"
        assert json.loads(path.read_text(encoding="utf-8")) == report
    assert Result.model_validate(report["results"][0]) == result
