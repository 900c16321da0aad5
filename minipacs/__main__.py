"""Makes `python -m minipacs` the command line."""

from minipacs.cli import main

if __name__ == "__main__":
    main(prog_name="minipacs")
