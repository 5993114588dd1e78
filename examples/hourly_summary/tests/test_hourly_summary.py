"""What is written, and what happens when a text cannot be read."""

import json


def test_the_summary_is_written_beside_the_texts(run_dag, put_text, aws_client):
    put_text("a.txt", b"one two")
    put_text("b.txt", b"three")

    run = run_dag("hourly-summary")

    assert run.state == "success", run
    summary = aws_client("s3").get_object(Bucket="texts", Key="summary.json")["Body"].read()
    assert json.loads(summary) == {"words": 3}
    assert run.task("alert").state == "skipped"


def test_a_text_that_cannot_be_read_ends_in_an_alert(run_dag, put_text, aws_client):
    put_text("a.txt", b"fine")
    put_text("b.txt", b"\xff\xfe\xfa")

    run = run_dag("hourly-summary")

    assert run.state == "failed"
    assert run.task("count", map_index=0).state == "success"
    assert "UnicodeDecodeError" in run.task("count", map_index=1).log()
    assert aws_client("s3").get_object(Bucket="texts", Key="alert.txt")["Body"].read()
    assert run.task("write_summary").state == "upstream_failed"


def test_a_variable_is_there_for_one_test(windtunnel):
    with (
        windtunnel.variable("threshold", 3),
        windtunnel.pool("texts", 2),
        windtunnel.paused("hourly-summary"),
    ):
        assert [dag.is_paused for dag in windtunnel.airflow.dags()] == [True]
