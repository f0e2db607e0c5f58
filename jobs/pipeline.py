"""The spark-submit entry of all stages in order: the same as `kinsight run`."""

import sys

from kinsight.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
