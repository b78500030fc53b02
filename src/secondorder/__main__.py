"""The command line: ``python -m secondorder warmup``."""

import argparse


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m secondorder")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("warmup", help="compile all loops now and keep them on disk, as for an image")
    parser.parse_args()

    from secondorder.warmup import warmup

    print(warmup())


if __name__ == "__main__":
    main()
