"""The variables of a process that runs a Lambda function: in the emulator, and where functions are checked.

Both run in Pythons of their own, so this imports next to nothing.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path


def variables(
    *, code: Path, layers: Path | None, python: Path, runtime: str, temporary: Path, given: Mapping[str, str]
) -> dict[str, str]:
    """Return the whole environment of a process that runs a function: nothing is inherited.

    The order of the paths is that of AWS: the function's code before its layers before the runtime.
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html

    :param code: the folder of the unpacked package.
    :param layers: the folder of its layers, /opt on AWS; None without layers.
    :param python: the program that runs it.
    :param runtime: AWS's name of what it was written for: ``python3.13``.
    :param temporary: its folder for temporary files.
    :param given: AWS's variables and the function's own.
    """
    python_path: list[Path | str] = [code]
    library_path = [code, code / "lib"]
    program_path = [python.parent, Path("/usr/local/bin"), Path("/usr/bin"), Path("/bin")]
    if layers:
        packages = layers / "python"
        python_path += [packages / "lib" / runtime / "site-packages", packages]
        library_path.append(layers / "lib")
        program_path.append(layers / "bin")
    if "PYTHONPATH" in given:
        python_path.append(given["PYTHONPATH"])
    return {
        "LANG": "en_US.UTF-8",
        "PATH": _joined(program_path),
        "LD_LIBRARY_PATH": _joined(library_path),
        **given,
        **_direct(given),
        "PYTHONPATH": _joined(python_path),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
        "LAMBDA_TASK_ROOT": str(code),
        "PWD": str(code),
        "TMPDIR": str(temporary),
        # As on AWS there is no HOME. What AWS's tools would look for in this user's own must not be found.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _direct(given: Mapping[str, str]) -> dict[str, str]:
    """Return what keeps a proxy of the function's own settings away from the emulator, which AWS need not."""
    if not any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in given):
        return {}
    # Of the two spellings Python prefers the small letters.
    own = [given[name] for name in ("NO_PROXY", "no_proxy") if name in given]
    hosts = ",".join([*own, "localhost", "127.0.0.1"])
    return {"NO_PROXY": hosts, "no_proxy": hosts}


def _joined(paths: Iterable[Path | str]) -> str:
    return os.pathsep.join(map(str, paths))
