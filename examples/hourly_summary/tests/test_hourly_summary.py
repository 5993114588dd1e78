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


def test_every_text_is_counted_by_a_call_of_its_own(run_dag, put_text, stub_function):
    put_text("a.txt", b"")
    put_text("b.txt", b"")
    count_words = stub_function("count-words", 20)

    run = run_dag("hourly-summary")

    assert run.task("write_summary").xcom() == 40
    assert sorted(event["key"] for event in count_words.events) == ["in/a.txt", "in/b.txt"]


def test_a_function_that_fails_ends_in_an_alert(run_dag, put_text, stub_function):
    put_text("a.txt", b"")
    stub_function("count-words", raises=MemoryError("too long a text"))

    run = run_dag("hourly-summary")

    assert run.task("alert").state == "success"
    assert "MemoryError: too long a text" in run.task("count", map_index=0).log()


def test_a_dag_is_paused_for_one_test(windtunnel, pause_dag):
    pause_dag("hourly-summary")

    assert [dag.is_paused for dag in windtunnel.airflow.dags()] == [True]
