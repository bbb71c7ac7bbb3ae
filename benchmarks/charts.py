"""Image training against the predecessor's loop, re-created: PIL for every sample, DataLoader, float32, plain PyTorch.

Digits: scikit-learn's, 1438 images of 64 × 64, ResNet-18 from random weights, Adam, batch 32, one thread, one process;
epochs of both alternate and processor seconds are compared, so that what else the machine does falls on both alike.
Photos: 2000 JPEG files of 640 × 480; what the loaders alone deliver, without a model.
"""

import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models, transforms
from torchvision.datasets import ImageFolder

from benchmarks.engine import _Silent
from benchmarks.start import until_first_step
from benchmarks.table import Figure
from pipeline.contract.store import Store
from pipeline.core.interrupt import Interrupt
from pipeline.store.config import StoreConfig
from pipeline.store.images.stage import build_image_store
from pipeline.synthetic.digits import write_digits
from pipeline.train.assemble import assemble, what_is_wanted
from pipeline.train.augment import build_augment
from pipeline.train.batches import epoch_order, open_source
from pipeline.train.checkpoint import Progress
from pipeline.train.config import TrainConfig
from pipeline.train.engine import steps_of, train_epoch
from pipeline.train.model import Classifier

ROOT = Path(__file__).parents[1]
COMMAND = "python -m benchmarks charts"
BATCH, ROUNDS = 32, 3
PHOTOS, DISTINCT, SIDES = 2000, 40, (640, 480)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ITS_RATE, ITS_START = 119, 6.2
"""The predecessor's own, measured before on another two-core server: photos a second, and start-up in CPU seconds."""


def measure() -> list[Figure]:
    """Return the ratios of training, start-up and loading."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        figures = [*_digits(Path(place)), _start(Path(place)), *_photos(Path(place))]
    torch.set_num_threads(threads)
    return figures


# --- training --------------------------------------------------------------------------------------------------------


def _digits(place: Path) -> Iterator[Figure]:
    write_digits(place / "data/raw/digits")
    store = _store(place, {"images": {"train": "data/raw/digits/train", "val": "data/raw/digits/val"}})
    theirs = _predecessor(place / "data/raw/digits/train")
    ours = {precision: _engine(store, precision) for precision in ("32", "bf16")}
    seconds = _race([theirs, *ours.values()])
    count = len(store.fold().train)
    for (precision, _), own in zip(ours.items(), seconds[1:], strict=True):
        yield Figure(
            f"digits, ResNet-18, batch {BATCH}, 1 thread, precision {precision}",
            f"{count / own:.0f} images per CPU second",
            f"the predecessor's loop (PIL per sample, DataLoader, float32): {count / seconds[0]:.0f}; promised: ≥ 1.3×",
            f"{seconds[0] / own:.2f}",
            COMMAND,
        )


def _store(place: Path, settings: dict[str, object]) -> Store:
    config = StoreConfig.model_validate(settings)
    _, folder = build_image_store(config, place / "data/store" / "images", place, "images", Interrupt())
    return Store(folder)


def _config(precision: str = "32", **more: object) -> TrainConfig:
    plain = {"select": "last", "schedule": {"name": "none"}, "optimizer": {"name": "adam", "weight_decay": 0}}
    model = {"backbone": "resnet18", "hidden": 0}
    loss = {"class_weights": "uniform"}
    return TrainConfig.model_validate(
        {**plain, "model": model, "loss": loss, "batch_size": BATCH, "precision": precision, "threads": 1, **more}
    )


def _engine(store: Store, precision: str) -> Callable[[int], None]:
    config = _config(precision)
    parts = assemble(config, store)
    return lambda epoch: train_epoch(parts, config, Progress(epoch=epoch), _Silent(), Interrupt())


def _predecessor(folder: Path) -> Callable[[int], None]:
    """Return an epoch of its loop: decode, convert, normalise each sample; step; two numbers fetched every batch."""
    pipeline = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    loader = DataLoader(ImageFolder(str(folder), pipeline), batch_size=BATCH, shuffle=True)
    model = models.resnet18(weights=None)
    model.fc = nn.Linear(model.fc.in_features, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()

    def epoch(_: int) -> None:
        model.train()
        total = hits = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            output = model(images)
            loss = criterion(output, labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
            hits += (output.argmax(1) == labels).sum().item()

    return epoch


def _race(runs: list[Callable[[int], None]]) -> list[float]:
    """Return the median CPU seconds of an epoch of each over alternating rounds, after one to warm up."""
    taken: list[list[float]] = [[] for _ in runs]
    for epoch in range(ROUNDS + 1):
        for number in range(len(runs)) if epoch % 2 else reversed(range(len(runs))):
            began = time.process_time()
            runs[number](epoch)
            if epoch:
                taken[number].append(time.process_time() - began)
    return [statistics.median(times) for times in taken]


# --- start -----------------------------------------------------------------------------------------------------------


def _start(place: Path) -> Figure:
    """Return the CPU seconds from the command to the first step of the digits' training, store built."""
    environment = {**os.environ, "ISOBAR_HOME": str(place), "OMP_NUM_THREADS": "1"}
    config = str(ROOT / "configs/digits.yaml")
    subprocess.run(
        [sys.executable, str(ROOT / "jobs/store.py"), config], env=environment, check=True, capture_output=True
    )
    command = [sys.executable, str(ROOT / "jobs/train.py"), config, "train.threads=1"]
    own = statistics.median(until_first_step([*command, f"train.seed={seed}"], environment)[1] for seed in range(3))
    least = statistics.median(_least_start(environment) for _ in range(3))
    what = "digits, command to first step"
    against = (
        f"a bare program that imports torch and torchvision and does a first step: {least:.1f} s; the predecessor, on "
        f"another server: {ITS_START} s; promised: at most half of that"
    )
    return Figure(what, f"{own:.1f} CPU s", against, f"{own / least:.2f}", COMMAND)


def _least_start(environment: dict[str, str]) -> float:
    """Return the CPU seconds of the shortest program that trains a ResNet-18 for one step."""
    code = (
        "import time, torch, torchvision\n"
        "model = torchvision.models.resnet18()\n"
        "optimizer = torch.optim.Adam(model.parameters(), fused=True)\n"
        f"model(torch.zeros({BATCH}, 3, 64, 64)).sum().backward()\n"
        "optimizer.step()\n"
        "print(time.process_time())"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


# --- photos ----------------------------------------------------------------------------------------------------------


def _photos(place: Path) -> Iterator[Figure]:
    """Return images a second of the second and later epochs, plain and with the guide's augmentation."""
    _write_photos(place / "photos")
    store = _store(
        place, {"images": {"train": "photos", "size": 256}, "split": {"fractions": (1, 0, 0), "by": "random"}}
    )
    crop = [{"RandomResizedCrop": {"size": 224}}, "RandomHorizontalFlip"]
    jitter = {"ColorJitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1}}
    theirs = PHOTOS / _cpu(lambda: _drain(_their_loader(place / "photos")))
    for name, steps in (("", None), (", crops and flips", crop), (", crops, flips, colours", [*crop, jitter])):
        deliver = _our_loader(store, steps)
        deliver()
        own = PHOTOS / min(_cpu(deliver) for _ in range(2))
        yield Figure(
            f"loading 2000 photos of 640×480 at 256×256{name}, second epoch, 1 thread",
            f"{own:.0f} images per CPU second",
            f"the predecessor's loader re-created (crops, flips, colours): {theirs:.0f}; promised: ≥ 20 × {ITS_RATE}",
            f"{own / ITS_RATE:.1f}",
            COMMAND,
        )
    yield _memory(store)


def _memory(store: Store) -> Figure:
    """Return the peak of a process that reads and prepares all photos twice, with less memory than they take."""
    code = "import sys; from benchmarks.charts import peak; print(peak(sys.argv[1], float(sys.argv[2])))"
    allowed = 0.1

    def run(gigabytes: float) -> float:
        command = [sys.executable, "-c", code, str(store.folder), str(gigabytes)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()[-1])

    streamed, held = run(allowed), run(8)
    size = PHOTOS * 256 * 256 * 3 / 1e6
    what = f"loading 2000 photos ({size:.0f} MB in the store), train.memory_gb={allowed}: peak memory"
    return Figure(what, f"{streamed:.0f} MB", f"held in memory: {held:.0f} MB", f"{streamed / held:.2f}", COMMAND)


def peak(folder: str, gigabytes: float) -> float:
    """Read and prepare all images of a store twice; return this process's peak of resident memory in MB."""
    deliver = _our_loader(Store(Path(folder)), None, gigabytes)
    deliver()
    deliver()
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1000


def _write_photos(folder: Path) -> None:
    """Write noisy smooth pictures, about as large as photos of that size: a few, each under many names."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0 : SIDES[1], 0 : SIDES[0]] / 100
    pictures = []
    for _ in range(DISTINCT):
        waves = [np.sin(generator.uniform(0.2, 2) * rows + generator.uniform(0.2, 2) * columns) for _ in range(3)]
        noise = generator.normal(0, 8, (*rows.shape, 1))
        values = np.clip(127 + 80 * np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "JPEG", quality=85)
        pictures.append(buffer.getvalue())
    for number in range(PHOTOS):
        path = folder / "ab"[number % 2] / f"{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures[number % DISTINCT])


def _their_loader(folder: Path) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    guide = [
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.2, 0.2, 0.2, 0.1),
    ]
    pipeline = transforms.Compose([*guide, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    return DataLoader(ImageFolder(str(folder), pipeline), batch_size=BATCH, shuffle=True)


def _our_loader(store: Store, steps: Sequence[object] | None, memory_gb: float = 8.0) -> Callable[[], None]:
    """Return an epoch of what a training step gets, up to normalised float32 images."""
    config = _config(augment={"transforms": steps}, memory_gb=memory_gb)
    parts = assemble(config, store)
    prepare = cast(Any, parts.module).encoders["image"].prepare
    rows = store.fold().train
    source = open_source(store, what_is_wanted(config, store, torch.device("cpu")), rows, config.memory_gb)
    augment = None if steps is None else build_augment(config.augment, {}, cast(Classifier, parts.module))

    def deliver() -> None:
        order = epoch_order(config.seed, 1, len(rows), None)
        for number, batch in enumerate(source.batches(steps_of(order, BATCH))):
            inputs = batch.inputs
            if augment is not None:
                inputs, _ = augment(inputs, batch.target, torch.Generator().manual_seed(number))
            prepare(inputs["image"])

    return deliver


def _drain(loader: DataLoader[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for _ in loader:
        pass


def _cpu(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
