"""`python -m redistill`, the form that `accelerate launch -m redistill run ...` needs."""

from redistill.cli import main

if __name__ == "__main__":
    main()
