"""config/airflow.cfg as the running Airflow takes it."""

import configparser
import json

from tests.support import StackUnderTest
from windtunnel.stack.settings import ROOT

# Airflow says nothing about an option that it does not know or that is in the wrong section. It ships a
# description of all, and reading that is much faster than importing Airflow.
KNOWN_OPTIONS = """
import importlib.util, json, pathlib, yaml
folder = pathlib.Path(importlib.util.find_spec("airflow").submodule_search_locations[0])
sections = yaml.safe_load((folder / "config_templates" / "config.yml").read_text())
print(json.dumps({name: sorted(section["options"]) for name, section in sections.items()}))
"""


def test_every_setting_is_one_that_airflow_knows(airflow_stack: StackUnderTest) -> None:
    known = json.loads(airflow_stack.stack.exec("scheduler", "python", "-c", KNOWN_OPTIONS))
    ours = configparser.ConfigParser(interpolation=None)
    ours.read(ROOT / "config" / "airflow.cfg")

    unknown = [
        f"[{section}] {option}"
        for section in ours.sections()
        for option in ours[section]
        if option.removesuffix("_cmd") not in known.get(section, ())
    ]
    assert unknown == []
