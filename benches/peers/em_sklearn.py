#!/usr/bin/env python3
"""Times EM for a Gaussian mixture, and a single normal's fit: nijimi-train beside scikit-learn, one after the other on the same rows, in one run.

    pip install scikit-learn numpy
    cargo build --release -p nijimi-trainer
    python3 benches/peers/em_sklearn.py target/release/nijimi-train [--rows N] [--columns D] [-k K] [--iterations I]

Both begin from the same weights, means and covariances and make the same number of updates with full covariances and no
floor. A program's seconds an update are those of all updates divided by their number: nijimi-train prints each one;
scikit-learn's are the time of a fit of 1 + I updates less that of one of 1, so that its reading and checking is not counted.
The rounds alternate, the least of each is kept, and the parameters that come out are compared.
"""
import argparse, os, re, subprocess, sys, tempfile, time, warnings

import numpy as np
from sklearn.covariance import EmpiricalCovariance
from sklearn.mixture import GaussianMixture

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--rows", type=int, default=1_000_000)
parser.add_argument("--columns", type=int, default=8)
parser.add_argument("-k", type=int, default=8)
parser.add_argument("--iterations", type=int, default=5)
parser.add_argument("--rounds", type=int, default=3)
a = parser.parse_args()
warnings.filterwarnings("ignore")

rng = np.random.default_rng(0)
centres = rng.normal(size=(a.k, a.columns)) * 3
shapes = rng.normal(size=(a.k, a.columns, a.columns)) * 0.3 + np.eye(a.columns)
which = rng.integers(a.k, size=a.rows)
x = np.empty((a.rows, a.columns))
for k in range(a.k):
    mine = which == k
    x[mine] = centres[k] + rng.normal(size=(mine.sum(), a.columns)) @ shapes[k]
x = np.round(x, 5)
means = centres + rng.normal(size=centres.shape) * 0.5
covariances = np.stack([np.cov(x[:1000].T)] * a.k)


def sklearn(updates):
    model = GaussianMixture(a.k, tol=0, reg_covar=0, max_iter=updates, init_params="random_from_data",
                            weights_init=np.full(a.k, 1 / a.k), means_init=means,
                            precisions_init=np.linalg.inv(covariances), random_state=0)
    begin = time.perf_counter()
    model.fit(x)
    return time.perf_counter() - begin, model


with tempfile.TemporaryDirectory() as folder:
    path = lambda name: os.path.join(folder, name)
    np.savetxt(path("data.csv"), x, fmt="%.5f", delimiter=",")
    start = np.hstack([np.full((a.k, 1), 1 / a.k), means, covariances.reshape(a.k, -1)])
    np.savetxt(path("start.txt"), start, fmt="%.17g")

    def nijimi():
        command = [a.program, "mixture", "--data", path("data.csv"), "--out", path("m.gguf"), "--report", path("report"),
                   "-k", str(a.k), "--init", path("start.txt"), "--tolerance", "0", "--covariance-floor", "0",
                   "--max-iterations", str(a.iterations)]
        begin = time.perf_counter()
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        whole = time.perf_counter() - begin
        steps = re.findall(r"^ *(\d+) +(-?[\d.]+) +([\d.]+)", out, re.M)
        # The first line also has the looking at the data before the first E-step.
        seconds = sum(float(s[2]) for s in steps[1:]) / (len(steps) - 1)
        weights = [float(w) for w in re.findall(r"weight ([\d.e-]+)", out)]
        return seconds, whole, float(steps[-1][1]), np.array(weights)

    def single():
        command = [a.program, "mvn", "--data", path("data.csv"), "--out", path("n.gguf"), "--report", path("n-report")]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        read, fitted = re.search(r"read in ([\d.]+) s, fitted in ([\d.]+) s", out).groups()
        return float(read), float(fitted)

    def covariance():
        begin = time.perf_counter()
        EmpiricalCovariance().fit(x)
        return time.perf_counter() - begin

    ours, theirs, mle, their_mle = [], [], [], []
    for _ in range(a.rounds):
        one, _ = sklearn(1)
        many, model = sklearn(1 + a.iterations)
        theirs.append((many - one) / a.iterations)
        seconds, whole, likelihood, weights = nijimi()
        ours.append(seconds)
        mle.append(single())
        their_mle.append(covariance())
    # One more update than nijimi's last, so compare after the same number.
    _, same = sklearn(a.iterations)

print(f"{a.rows} rows x {a.columns}, K = {a.k}, {os.cpu_count()} processors, scikit-learn {__import__('sklearn').__version__}")
print(f"scikit-learn  {min(theirs):.4f} s an update  (rounds: {', '.join(f'{t:.4f}' for t in theirs)})")
print(f"nijimi-train  {min(ours):.4f} s an update  (rounds: {', '.join(f'{t:.4f}' for t in ours)}); {whole:.2f} s whole, with reading and report")
print(f"nijimi-train takes {min(ours) / min(theirs):.3f} of scikit-learn's time")
print(f"largest difference of weights after {a.iterations} updates: {np.abs(weights - same.weights_).max():.1e}; "
      f"mean log-likelihood {likelihood:.12f}, scikit-learn {same.score(x):.12f}")
fitted, reading = min(m[1] for m in mle), min(m[0] for m in mle)
print(f"one normal: nijimi-train {fitted:.3f} s (and {reading:.3f} s reading the text), "
      f"scikit-learn's EmpiricalCovariance {min(their_mle):.3f} s, ratio {fitted / min(their_mle):.3f}")
sys.exit(0 if max(min(ours) / min(theirs), fitted / min(their_mle)) <= 1.5 else 1)
