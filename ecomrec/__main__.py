"""`python -m ecomrec` is `ecomrec`."""

from ecomrec.cli import main

main()
