"""The pytest plugin for repositories of DAGs. Runs in the user's pytest."""

pytest_plugins = ["windtunnel.pytest_plugin.session", "windtunnel.pytest_plugin.static_checks.hooks"]
