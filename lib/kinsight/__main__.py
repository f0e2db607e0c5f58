"""`python -m kinsight` is the `kinsight` command."""

from kinsight.cli import main

if __name__ == "__main__":
    main()
