"""`python -m dealias`, which is how torchrun starts it."""

from dealias.cli.main import main

if __name__ == "__main__":
    main()
