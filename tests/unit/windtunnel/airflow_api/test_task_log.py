from windtunnel.airflow_api.task_log import LogRecord


def test_a_record_with_an_exception_reads_as_python_prints_it() -> None:
    frames = [{"filename": "/dags/a.py", "lineno": 3, "name": "go"}]
    error = {"exc_type": "ValueError", "exc_value": "bad", "frames": frames}

    assert LogRecord(None, "error", "Task failed", "task", {"error_detail": [error]}).lines() == [
        "Task failed",
        "Traceback (most recent call last):",
        '  File "/dags/a.py", line 3, in go',
        "ValueError: bad",
    ]
    assert LogRecord(None, "info", "", "task").lines() == []
