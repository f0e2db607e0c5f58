"""The spark-submit entry of stage `ingest`: the same as `kinsight ingest`."""

import sys

from kinsight.cli import main

if __name__ == "__main__":
    main(["ingest", *sys.argv[1:]])
