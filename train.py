"""Train one network, or with -m a grid of them: python train.py +method=spec dataset=kmnist -m."""

import sys

from jacexp.commands import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
