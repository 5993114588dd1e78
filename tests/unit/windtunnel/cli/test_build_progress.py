from windtunnel.cli.build_progress import BuildProgress


def test_build_progress_shows_each_step_and_says_the_long_ones() -> None:
    said: list[str] = []
    shown: list[str] = []
    progress = BuildProgress(said.append, shown.append)

    for line in (
        "#1 [internal] load build definition from Dockerfile",
        "#1 DONE 0.0s",
        "#7 [airflow-builder 2/3] RUN uv pip sync",
        "#7 0.512 some output DONE 9s",
        "#7 DONE 12.3s",
        "#8 [airflow 1/2] RUN useradd",
        "#8 CACHED",
    ):
        progress(line)

    assert shown[-1] == "[airflow 1/2] RUN useradd"
    assert said == ["[airflow-builder 2/3] RUN uv pip sync 12.3 s"]
