"""How the command line is called, as messages write it."""

from windtunnel.stack.settings import ROOT

# A checkout has a launcher; the package that was installed has a command.
COMMAND = "./windtunnel" if (ROOT / "windtunnel").is_file() else "windtunnel"
