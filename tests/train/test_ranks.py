"""Several ranks train what one process trains: the same steps on the same batches, up to the order of sums."""

from __future__ import annotations

import json
import multiprocessing
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.contract.store import Store
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.core.launch import Launch, first_node, launched, meeting_point
from pipeline.train.checkpoint import load_tensors
from pipeline.train.config import TrainConfig
from pipeline.train.ranks import Ranks, check_shared
from tests.train.rank_program import rank
from tests.train.stores import marked_images, write_images
from tests.train.training import config, run_of, same, write_small

SMALL = {"backbone": "simple", "hidden": 16, "head_dropout": 0.3}
SERIES = {"dim": 8, "heads": 2, "layers": 1, "feedforward": 16, "dropout": 0.2}
FLIPS = [{"RandomHorizontalFlip": {"p": 0.5}}, {"ColorJitter": {"brightness": 0.3}}]
PLAIN = {"epochs": 2, "model": SMALL, "ema": {"decay": 0.9}, "clip_norm": 1.0, "batch_size": 15}
"""96 samples in batches of 15: six whole ones and one of 6; slices of 8 and 7."""
CASES: dict[str, tuple[str, dict[str, object]]] = {
    "plain": ("maps", PLAIN),
    "norms": (
        "maps",
        {
            "epochs": 2,
            "batch_size": 50,
            "accumulate": 2,
            "model": {"backbone": "resnet10t", "hidden": 0},
            "unfreeze": {"enabled": True, "epochs": [0, 1]},
            "rates": {"by": "stages"},
            "agc": {"enabled": True},
            "gradients": {"enabled": True},
        },
    ),
    "drawn": ("maps", {"epochs": 2, "model": {**SMALL, "members": 3}, "augment": {"noise": 0.1, "mixup": 0.4}}),
    "charts": (
        "charts",
        {
            "epochs": 2,
            "batch_size": 13,
            "model": {**SMALL, "series": SERIES, "fusion": "cross_attention", "modality_dropout": 0.3},
            "augment": {"transforms": FLIPS},
            "sampler": "weighted",
        },
    ),
}
"""Settings in which a sample meets the others of its batch: norms, masks, noise, mixing, uneven batches."""


@dataclass
class Ended:
    """How each rank ended."""

    codes: list[int | None]
    seconds: float


@dataclass
class Crew:
    """Starts ranks of the test program, forked from a server that has imported torch already."""

    folder: Path
    stores: dict[str, Path]
    single: dict[str, Path] = field(default_factory=dict)
    """Runs of one process."""

    def entry(
        self, name: str, settings: TrainConfig, store: str, accident: list[object] | None = None
    ) -> dict[str, Any]:
        """Return what the test program is told of one training."""
        told = {"name": name, "store": str(self.stores[store]), "train": json.loads(settings.model_dump_json())}
        return told | {"accident": accident}

    def run(self, count: int, *entries: dict[str, Any]) -> Ended:
        """Train the entries by ``count`` ranks."""
        listed = self.folder / "list.json"
        listed.write_text(json.dumps(entries))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.train.rank_program"])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": str(count)}
        ranks = [
            context.Process(target=rank, args=({**meeting, "RANK": str(number), "LOCAL_RANK": str(number)}, listed))
            for number in range(count)
        ]
        began = time.monotonic()
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(300)
            if process.is_alive():
                process.kill()
        return Ended([process.exitcode for process in ranks], time.monotonic() - began)

    def log(self, number: int) -> str:
        """Return what a rank told."""
        return (self.folder / f"rank{number}.log").read_text()


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Crew:
    """Every case trained by one process, and then by two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    images, label = marked_images(100, 3, 18)
    series = np.random.default_rng(0).standard_normal((100, 6, 2)).astype(np.float32)
    write_images(folder / "charts", images, label, series)
    found = Crew(folder, {"maps": write_small(folder / "maps"), "charts": folder / "charts"})
    entries = []
    for name, (store, more) in CASES.items():
        settings = config(**more)
        found.single[name] = folder / f"{name}-alone"
        run_of(settings, found.stores[store], found.single[name])
        entries.append(found.entry(name, settings, store))
    ended = found.run(2, *entries)
    assert ended.codes == [0, 0], found.log(0) + found.log(1)
    return found


def weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(load_tensors(run / "model.pt")["model"])


def distance(left: Path, right: Path) -> float:
    """Return the root mean square of the weights' differences, in that of the weights."""
    ours, theirs = (torch.cat([value.double().flatten() for value in weights(run).values()]) for run in (left, right))
    return float((ours - theirs).norm() / ours.norm())


def entries(run: Path) -> list[dict[str, float]]:
    return list(json.loads((run / "history.json").read_text())["epochs"])


# Measured: 2e-8 to 4e-7; of charts 1e-5, because Adam turns the noise of gradients that are 0 (biases of the keys of an
# attention) into steps. A mask or norm that differed would give 1e-2 and more.
@pytest.mark.parametrize(("case", "most"), [("plain", 2e-6), ("norms", 2e-6), ("drawn", 5e-6), ("charts", 1e-4)])
def test_two_ranks_train_what_one_process_trains(crew: Crew, case: str, most: float) -> None:
    assert distance(crew.single[case], crew.folder / case) < most
    for ours, theirs in zip(entries(crew.folder / case), entries(crew.single[case]), strict=True):
        assert ours["train_f1"] == theirs["train_f1"]
        for name in ("train_loss", "val_loss", "val_map", "val_f1"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5)
    for split in ("val", "test"):
        ours, theirs = (np.load(run / f"predictions_{split}.npz") for run in (crew.folder / case, crew.single[case]))
        assert ours["ids"].tolist() == theirs["ids"].tolist(), "each sample once, in order"
        np.testing.assert_allclose(ours["logits"], theirs["logits"], atol=1e-4)


def test_one_rank_writes(crew: Crew) -> None:
    run = crew.folder / "plain"
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["ranks"], record["sessions"]) == ("done", 2, 1)
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in crew.single["plain"].iterdir())
    log = (crew.folder / "charts" / "train.log").read_text()
    assert log.count("first step after") == 1
    assert "on cpu by 2 ranks" in log
    alone = json.loads((crew.single["plain"] / "run.json").read_text())
    assert "ranks" not in alone


def test_a_signal_to_one_rank_stops_all_at_one_step_and_another_number_goes_on(crew: Crew) -> None:
    settings = config(**PLAIN)
    ended = crew.run(2, crew.entry("told", settings, "maps", [1, "SIGUSR1", 5]))
    assert ended.codes == [75, 75], crew.log(0)
    progress = load_tensors(crew.folder / "told/checkpoints/last.ckpt")["progress"]
    assert (progress["epoch"], progress["step"]) == (0, 5)
    record = json.loads((crew.folder / "told/run.json").read_text())
    assert (record["status"], record["exit_code"]) == ("interrupted", 75)
    assert "SIGUSR1 (another rank)" in record["error"]
    ended = crew.run(3, crew.entry("told", settings, "maps"))
    assert ended.codes == [0, 0, 0], crew.log(0)
    assert distance(crew.single["plain"], crew.folder / "told") < 2e-6
    assert entries(crew.folder / "told")[0]["train_f1"] == entries(crew.single["plain"])[0]["train_f1"]


def test_after_the_loss_of_a_rank_the_others_end_and_the_same_command_goes_on(crew: Crew) -> None:
    settings = config(**PLAIN, checkpoint_minutes=1e-6)
    ended = crew.run(2, crew.entry("killed", settings, "maps", [1, "SIGKILL", 10]))
    assert ended.codes == [1, -9]
    assert ended.seconds < 200, "the others wait for no time-out of theirs"
    line = crew.log(0).splitlines()[-1]
    assert "rank 0 of 2" in line
    assert "another rank is gone" in line
    assert json.loads((crew.folder / "killed/run.json").read_text())["status"] == "failed"
    assert crew.run(2, crew.entry("killed", settings, "maps")).codes == [0, 0]
    assert same(weights(crew.folder / "killed"), weights(crew.folder / "plain")), "as if nothing had happened"
    assert load_tensors(crew.folder / "killed/checkpoints/last.ckpt")["progress"]["epoch"] == 2


def test_ranks_that_do_not_see_the_same_run_end(crew: Crew) -> None:
    from pipeline.train.stage import _check_same_beginning
    from pipeline.train.start import Beginning

    class Elsewhere(Ranks):
        def told(self, value: object) -> object:
            return "at epoch 3, step 1"

    with pytest.raises(Exception, match=r"finds the run before its first step, the leading one at epoch 3"):
        _check_same_beginning(Beginning(), Elsewhere(Launch(1, 2, 1, 2)))


def test_settings_that_ranks_cannot_share() -> None:
    with pytest.raises(InputError, match=r"train\.compile"):
        check_shared(config(compile=True), 2)
    with pytest.raises(InputError, match=r"train\.batch_size: 4 samples at a time"):
        check_shared(config(batch_size=16, accumulate=4), 5)
    check_shared(config(batch_size=16, accumulate=4), 4)


def test_the_number_of_ranks_is_in_no_signature() -> None:
    from pipeline.core.config import signature

    assert signature(config(ranks_timeout=3)) == signature(config())


def test_shares_cover_a_batch_in_order() -> None:
    for whole, count in ((16, 2), (7, 3), (2, 4), (1, 2)):
        shares = [Ranks(Launch(number, count)).share(whole) for number in range(count)]
        part: NDArray[np.int64] = np.arange(10, 10 + whole)
        mine = np.concatenate([share.of(part) for share in shares if share.counts])
        assert mine.tolist() == part.tolist()
        assert all(len(share.of(part)) >= 1 for share in shares)
        assert sum(not share.counts for share in shares) == max(0, count - whole)


def test_who_was_started_as_a_rank() -> None:
    srun = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "1",
        "SLURM_NODEID": "0",
        "SLURM_NTASKS": "3",
    }
    assert launched(srun) == Launch(1, 3, 1, 2)
    assert launched(srun | {"SLURM_PROCID": "2", "SLURM_LOCALID": "0", "SLURM_NODEID": "1"}) == Launch(2, 3, 0, 1)
    torchrun = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    assert launched(srun | torchrun) == Launch(0, 2, 0, 2)
    batch = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    for alone in (
        {},
        batch,
        {"WORLD_SIZE": "4"},
        {"RANK": "0", "WORLD_SIZE": "1"},
        srun | {"SLURM_STEP_NUM_TASKS": "1"},
    ):
        assert launched(alone) == Launch()
    shell = srun | {"SLURM_STEP_ID": "4294967290"}
    assert launched(shell) == Launch(), "the shell of salloc"


def test_where_ranks_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # no scontrol
    assert [first_node(nodes) for nodes in ("n[07-09,12]", "a1,b2", "node3", "r[1-2]c,x")] == [
        "n07",
        "a1",
        "node3",
        "r1c",
    ]
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "n[1-2]"}
    host, port = meeting_point(step)
    assert host == "n1"
    assert 20000 <= port < 29000
    assert meeting_point(step | {"MASTER_ADDR": "here", "MASTER_PORT": "1234"}) == ("here", 1234)
    assert meeting_point(step | {"SLURM_JOB_ID": "8"})[1] != port
    for wrong in ({}, {"MASTER_ADDR": "here"}, step | {"MASTER_PORT": "http"}, step | {"MASTER_PORT": "0"}):
        with pytest.raises(InputError, match="environment: "):
            meeting_point(wrong)


def test_alone_nothing_is_asked(crew: Crew) -> None:
    ranks, interrupt = Ranks(), Interrupt()
    values = torch.ones(3)
    assert ranks.total(values) is values
    assert ranks.agreed(True, interrupt)
    assert interrupt.reason is None
    assert Store(crew.stores["maps"]).spec.samples == 160
