"""`python -m hfbiasedit`."""

from hfbiasedit.cli.app import main

if __name__ == "__main__":
    main()
