"""The spark-submit entry of stage `embed`: the same as `kinsight embed`."""

import sys

from kinsight.cli import main

if __name__ == "__main__":
    main(["embed", *sys.argv[1:]])
