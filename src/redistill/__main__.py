"""`python -m redistill`, the form that `accelerate launch -m redistill run ...` needs.

Python puts the current folder before its own library for `-m`, so that folder leaves the import path before anything else is
imported. What Python imports for `-m` itself is beyond our reach: the command `redistill` and `python -P -m redistill`
never look into the folder.
"""

from redistill.safety.import_path import leave_folder

leave_folder()

from redistill.cli import main  # noqa: E402 - once the import path is clean

if __name__ == "__main__":
    main()
