"""The spark-submit entry of stage `expand`: the same as `kinsight expand`."""

import sys

from kinsight.cli import main

if __name__ == "__main__":
    main(["expand", *sys.argv[1:]])
