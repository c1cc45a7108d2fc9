"""`python -m repvgg_np` is `repvgg-np`."""

import sys

from repvgg_np.cli import main

if __name__ == "__main__":  # a worker process imports this file too, under another name
    sys.exit(main())
