"""Make mnist_7_1.npz, the digits 7 and 1 of MNIST, from the four IDX files of the database.

Run as `python examples/data/make_mnist_7_1.py FOLDER_WITH_IDX_FILES`.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np

IDX_FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


def read_idx(path: Path) -> np.ndarray:
    """The array of bytes in an IDX file, plain or gzipped."""
    packed = path.with_name(path.name + ".gz")
    raw = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    n_axes = raw[3]
    shape = np.frombuffer(raw, ">u4", count=n_axes, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * n_axes).reshape(shape)


def read_mnist(folder: Path) -> dict[str, np.ndarray]:
    """Images (n, 28, 28) and labels (n,) of all ten digits, under the keys of `IDX_FILES`."""
    return {key: read_idx(folder / name) for key, name in IDX_FILES.items()}


def main() -> None:
    """Write the images of 7 and 1, in their order in the database, next to this script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds the four IDX files of MNIST, plain or .gz")
    mnist = read_mnist(parser.parse_args().folder)
    kept = {}
    for part in ("train", "test"):
        chosen = np.isin(mnist[f"{part}_labels"], (7, 1))
        for kind in ("images", "labels"):
            kept[f"{part}_{kind}"] = mnist[f"{part}_{kind}"][chosen]
    np.savez_compressed(Path(__file__).with_name("mnist_7_1.npz"), **kept)


if __name__ == "__main__":
    main()
