"""``python -m stack`` is the ``stack`` command."""

from stack.cli import main

if __name__ == "__main__":
    main()
