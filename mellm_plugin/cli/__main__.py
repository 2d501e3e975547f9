"""`python -m mellm_plugin.cli` is the command `mellm`, for `accelerate launch -m` and `torchrun -m`."""

import sys

from mellm_plugin.cli import main

if __name__ == "__main__":
    sys.exit(main())
