"""The spark-submit entry of stage `segment`: the same as `kinsight segment`."""

import sys

from kinsight.cli import main

if __name__ == "__main__":
    main(["segment", *sys.argv[1:]])
