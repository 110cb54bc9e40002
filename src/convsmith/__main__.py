"""`python -m convsmith`, the same as the command `convsmith`."""

from convsmith.cli.main import main

if __name__ == "__main__":
    main()
