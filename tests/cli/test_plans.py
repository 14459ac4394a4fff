from __future__ import annotations

import json

FAN = """
    pipeline = sf.Pipeline("fan")
    rows = pipeline.read("rows", [{"k": "a", "t": 1}], event_time=lambda r: r["t"], max_delay="1s")
    counts = rows.key_by(lambda r: r["k"]).window(sf.tumbling("1m")).count(name="per_minute")
    counts.to(sf.MemorySink(), name="counts")
    counts.late().to(sf.MemorySink(), name="late")
    rows.key_by(lambda r: r["k"], name="again").all_time().count(name="totals").to(sf.MemorySink(), name="totals_out")
"""


def test_explain_prints_the_plan_as_text(program, invoke) -> None:
    explained = invoke("explain", program(FAN))
    assert explained.exit_code == 0
    assert "step per_minute: window tumbling 1m" in explained.output
    assert "sink counts: memory <- per_minute" in explained.output


def test_explain_draws_a_diagram_with_every_edge(program, invoke) -> None:
    explained = invoke("explain", program(FAN), "--format", "mermaid")
    assert explained.exit_code == 0
    lines = [line.strip() for line in explained.output.splitlines()]
    assert lines[0] == "flowchart LR"
    numbers = {line.split('"')[1].split("<br>")[0]: line[:2] for line in lines[1:] if '"' in line and "|" not in line}
    assert f'{numbers["per_minute"]} -->|"late"| {numbers["late"]}' in lines
    assert f"{numbers['totals']} -.-> {numbers['totals_out']}" in lines


def test_explain_gives_programs_the_plan_as_json(program, invoke) -> None:
    explained = invoke("explain", program(FAN), "--format", "json")
    assert explained.exit_code == 0
    plan = json.loads(explained.output)
    nodes = {node["name"]: node for node in plan["nodes"]}
    assert plan["pipeline"] == "fan"
    assert nodes["per_minute"]["is_stateful"]
    assert nodes["late"]["inputs"] == [{"node": "per_minute", "port": "late"}]
    assert nodes["totals"]["edge"] == "upsert"


def test_check_accepts_what_can_run_and_runs_nothing(program, invoke) -> None:
    checked = invoke("check", program(FAN))
    assert checked.exit_code == 0
    assert checked.output == "fan can run: 1 source, 4 steps, 3 sinks\n"


def test_check_refuses_a_definition_error_at_the_users_line_with_3(program, invoke) -> None:
    checked = invoke(
        "check", program('pipeline = sf.Pipeline("p")\npipeline.read("rows", [1]).window_all(sf.tumbling("0s"))')
    )
    assert checked.exit_code == 3
    assert "streamflow.DefinitionError: the size of a window must be more than zero" in checked.output
    assert "job.py:3: " in checked.output
    assert "Traceback" not in checked.output


def test_check_refuses_a_pipeline_without_a_sink(program, invoke) -> None:
    checked = invoke("check", program('pipeline = sf.Pipeline("p")\npipeline.read("rows", [1])'))
    assert checked.exit_code == 3
    assert "has no sink" in checked.output
