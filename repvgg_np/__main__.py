"""`python -m repvgg_np` is `repvgg-np`."""

import sys

from repvgg_np.cli import main

sys.exit(main())
