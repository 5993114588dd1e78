def test_a_run_counts_every_text_and_its_log_is_in_s3(run_dag, put_text):
    put_text("a.txt", b"one two three")

    run = run_dag("hourly-summary")

    assert run.state == "success", run
    assert run.task("write_summary").xcom() == 3
    assert "in/a.txt has 3 words" in run.task("count", map_index=0).s3_log()
