"""Deploys the named functions, or all; exits with 1 if one fails and with 2 if a name is not known."""

import sys

from windtunnel.seeding.functions import LAYERS, read_functions
from windtunnel.seeding.watch import ROOT, function_folders, say, seed_functions

functions, wrong = read_functions(*function_folders())
layers = {f"{LAYERS}/{path.name}" for path in (ROOT / "lambdas" / LAYERS).glob("*")}
names = {function.name for function in functions} | set(wrong) | layers
known = names | {function.folder.name for function in functions}
if unknown := [name for name in sys.argv[1:] if name not in known]:
    say(f"no function {', '.join(unknown)} in lambdas/; there are {', '.join(sorted(known))}")
    sys.exit(2)
sys.exit(1 if seed_functions(sys.argv[1:] or names) else 0)
