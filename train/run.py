"""Train, validate or export one stage: `python train/run.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run by path: the checkout's root

from core.errors import FacePBRError  # noqa: E402
from train import build  # noqa: E402
from train.config import parse  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    try:
        options = parse(argv)
        if options.fill:
            build.fill(options)
        elif options.export is not None:
            build.export(options)
        elif options.validate is not None:
            build.score(options)
        else:
            build.train(options)
    except FacePBRError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command resumes", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
