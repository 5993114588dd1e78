"""A package index in the folder ``index``, which the real uv installs from."""

import hashlib
import zipfile
from pathlib import Path


def make_wheel(
    root: Path, name: str, version: str = "1.0", *, requires: str = "", tag: str = "py3-none-any"
) -> str:
    """Put a package with one module into the index; return its SHA-256."""
    folder = root / "index" / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name} = {name}:main\n")
        wheel.writestr(f"{info}/RECORD", "")
    links = "".join(f"<a href={file.name!r}>{file.name}</a>" for file in folder.glob("*.whl"))
    (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
    return hashlib.sha256(path.read_bytes()).hexdigest()
