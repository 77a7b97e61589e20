"""`python -m edgesentry` is the command `eds`."""

from edgesentry._cli import main

if __name__ == "__main__":
    main()
