"""Does the encoder separate the relevant latents from the others?

Rows of ``make_specialist_latents``, 10,000 to learn from and 2,000 held out; the held-out R2
of the true latents predicted from the kept ones (kernel ridge). The defaults against
``sparsity=0``. Run ``python benchmarks/encoder.py``; takes about ten minutes on one core, with
``--sizes 4 2 4 --sizes 10 5 10`` for other numbers of latents, relevant ones and tasks longer.
"""

import argparse
import platform
import time
from pathlib import Path

import numpy as np
import sklearn
import skorch
import torch

from skspecialist.datasets import make_specialist_latents
from skspecialist.encoder import SparseSpecialistEncoder
from skspecialist.metrics import block_r2

N_TRAIN, N_TEST = 10_000, 2_000
HEADER = (
    "latents relevant tasks seed sparsity kept  R2 relevant (min)  R2 irrelevant (max)  "
    "R2 tasks  CPU seconds"
)


def run(sizes, seed, **params):
    """Fit once; return a line of the table and the two mean R2."""
    data = make_specialist_latents(N_TRAIN + N_TEST, *sizes, random_state=seed)
    train, test = slice(N_TRAIN), slice(N_TRAIN, None)
    start = time.process_time()
    encoder = SparseSpecialistEncoder(random_state=seed, **params).fit(data.X[train], data.y[train])
    seconds = time.process_time() - start
    # The probe is cross-fitted on the held-out rows: nothing here was seen in fit.
    r2 = block_r2(encoder.transform(data.X[test]), data.latents[test])
    relevant, others = r2[data.relevant], r2[~data.relevant]
    line = (
        f"{sizes[0]:7d} {sizes[1]:8d} {sizes[2]:5d} {seed:4d} {encoder.sparsity:8.2f} "
        f"{encoder.support_.sum():4d}  {relevant.mean():11.3f} {relevant.min():5.3f}  "
        f"{others.mean():13.3f} {others.max():6.3f}  "
        f"{encoder.score(data.X[test], data.y[test]):8.3f}  {seconds:7.1f}"
    )
    return line, relevant.mean(), others.mean()


def main():
    """Print the table and save it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(5), *range(20, 25)])
    parser.add_argument("--sizes", type=int, nargs=3, action="append")
    parser.add_argument("--dense-seeds", type=int, nargs="*", default=list(range(5)))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/encoder.txt")
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        f"python {platform.python_version()}, numpy {np.__version__}, one thread; scikit-learn "
        f"{sklearn.__version__}, torch {torch.__version__}, skorch {skorch.__version__}",
        HEADER,
    ]
    print("\n".join(lines), flush=True)
    for sizes in args.sizes or [[6, 3, 4]]:
        for params, seeds in (({}, args.seeds), ({"sparsity": 0.0}, args.dense_seeds)):
            results = []
            for seed in seeds:
                line, *figures = run(sizes, seed, **params)
                results.append(figures)
                lines.append(line)
                print(line, flush=True)
            if results:
                mean = np.mean(results, axis=0)
                lines.append(f"{'mean':>27} {'':27} {mean[0]:.3f} {'':19} {mean[1]:.3f}")
                print(lines[-1], flush=True)
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
