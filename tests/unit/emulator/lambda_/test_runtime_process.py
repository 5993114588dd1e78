"""What holds for a runtime process whatever becomes of the emulator."""

import select
import signal
import subprocess
import sys
from pathlib import Path

# Starts a runtime whose function hangs in its Init phase, then says so and waits to be killed.
EMULATOR = """
import asyncio, os, sys
from pathlib import Path
from windtunnel_emulator.lambda_ import interpreter
from windtunnel_emulator.lambda_.runtime_process import RuntimeProcess

async def main():
    await RuntimeProcess.start(
        interpreter.inspect(os.environ["LAMBDA_RUNTIME_PYTHON"]),
        "function.handler",
        directory=Path(sys.argv[1]),
        variables={},
        on_output=lambda output: (sys.stdout.buffer.write(output), sys.stdout.flush()),
    )
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_it_dies_with_an_emulator_that_was_killed(tmp_path: Path) -> None:
    # GIVEN a function that is busy, so that it does not notice the end of the Runtime API
    alive = tmp_path / "alive"
    (tmp_path / "function.py").write_text(
        f"import os, time\nos.mkfifo({str(alive)!r})\nprint('up', flush=True)\n"
        f"fifo = os.open({str(alive)!r}, os.O_WRONLY)\ntime.sleep(60)\n"
    )
    emulator = subprocess.Popen(
        [sys.executable, "-c", EMULATOR, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert emulator.stdout
    assert emulator.stdout.readline() == "up\n"
    with alive.open("rb") as fifo:  # the function holds the other end while it lives
        # WHEN the emulator is killed
        emulator.send_signal(signal.SIGKILL)
        emulator.wait()
        # THEN the function is gone too
        assert select.select([fifo], [], [], 5)[0], "the function still runs 5 s after the emulator"
        assert fifo.read() == b""
    emulator.stdout.close()
