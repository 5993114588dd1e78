from pathlib import Path

import pytest

from windtunnel import locks


def test_who_holds_a_lock_keeps_others_out(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    with locks.exclusive(path), path.open("w") as other:
        assert not locks.try_exclusive(other)
    with path.open("w") as other:
        assert locks.try_exclusive(other)


def test_a_lock_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), locks.exclusive(tmp_path / "lock"):
        raise ValueError("inside")

    with (tmp_path / "lock").open() as lock:
        assert locks.try_exclusive(lock)


def test_a_shared_lock_lets_others_share_and_keeps_out_who_wants_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    with path.open("w") as one, path.open("w") as two, path.open("w") as three:
        locks.share(one)
        locks.share(two)
        assert not locks.try_exclusive(three)
