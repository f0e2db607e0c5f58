"""The spark-submit entry of stage `sequence`: the same as `kinsight sequence`."""

import sys

from kinsight.cli import main

if __name__ == "__main__":
    main(["sequence", *sys.argv[1:]])
