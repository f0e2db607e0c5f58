"""The spark-submit entry of `kinsight synth`: writes a synthetic shop."""

import sys

from kinsight.cli import main

if __name__ == "__main__":
    main(["synth", *sys.argv[1:]])
