"""`python -m hmr_commands` is `hmr`."""

from hmr_commands.program import main

if __name__ == "__main__":
    main()
