"""The pytest plugin for repositories of DAGs. Runs in the user's pytest.

A repository names its folders in ``pyproject.toml``::

    [tool.windtunnel]
    dags = "dags"
    lambdas = "lambdas"
    custom = "custom"
    requirements = "requirements.txt"
    aws = "aws.json"

These are the defaults, as far as they are there. The first test that asks for the stack starts it, as a
project of its own on free ports, and it is gone when the session ends.
"""

pytest_plugins = [
    "windtunnel.pytest_plugin.hooks",
    "windtunnel.pytest_plugin.fixtures",
    "windtunnel.pytest_plugin.static_checks.hooks",
]
