"""`python -m core` in the checkout, `python -m facepbr` where the wheel is installed."""

from .cli import main

raise SystemExit(main())
