"""The spark-submit entry of stage `report`: the same as `kinsight report`."""

import sys

from kinsight.cli import main

if __name__ == "__main__":
    main(["report", *sys.argv[1:]])
