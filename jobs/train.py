"""The spark-submit entry of stage `train`: the same as `kinsight train`."""

import sys

from kinsight.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
