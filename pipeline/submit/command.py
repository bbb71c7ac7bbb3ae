"""``jobs/submit.py``: what was typed becomes tickets, for Slurm or for this machine."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pipeline.core import logs
from pipeline.core.artifact import digest8, make_folder
from pipeline.core.choose import near
from pipeline.core.config import Section, dump, load
from pipeline.core.errors import BAD_INPUT, DONE, FAILED, InputError, IsobarError, disk_fault, shorten
from pipeline.submit import slurm
from pipeline.submit.chain import stages
from pipeline.submit.config import read_profile
from pipeline.submit.fresh import Stages, skipped
from pipeline.submit.local import detach
from pipeline.submit.plan import chunks, tasks_of
from pipeline.submit.snapshot import Code, freeze
from pipeline.submit.ticket import find, jobs_folder, new_ticket, next_id, state

_NOT_SUBMITTED = ("submit", "status", "notify_run")


def submit_main(doc: str | None, arguments: list[str], project: Path, home: Path) -> int:
    """Do what ``jobs/submit.py`` was asked to; return the exit code."""
    own, flags = arguments, []
    if "--" in arguments:
        own, flags = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    typed = _parser(doc or "").parse_intermixed_args(own)
    logs.start(typed.verbose)
    return guarded(lambda: _Submission(typed, flags, project.resolve(), home.resolve()).run())


def guarded(act: Callable[[], None]) -> int:
    """Run ``act``; return 0, or report its error in one line and return that one's exit code."""
    try:
        act()
    except IsobarError as error:
        for line in str(error).splitlines():
            logs.log.error("%s", line)
        return error.exit_code
    except BrokenPipeError:  # the reader of a pipe has gone: ``… | head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        fault = disk_fault(error, error.filename or "output")
        if fault is None:
            raise
        logs.log.error("%s", fault)
        return FAILED
    return DONE


@dataclass(frozen=True)
class _After:
    """A ticket to wait for."""

    id: str
    how: str
    slurm: list[str]
    """Ids of what is to be waited for, by piece where pieces correspond."""
    done: bool = False


class _Submission:
    """One command line at work."""

    def __init__(self, typed: argparse.Namespace, flags: list[str], project: Path, home: Path) -> None:
        self.typed, self.flags, self.project, self.home = typed, flags, project, home
        self.script = _script(project, typed.job)
        profiles = Path(typed.profiles or os.environ.get("ISOBAR_PROFILES") or project / "slurm" / "profiles.yaml")
        self.profile_name, self.profile = read_profile(profiles, typed.profile, typed.set)
        self.on_slurm = typed.cluster == "slurm" or (typed.cluster is None and slurm.available())
        self.number = int(next_id(home)[1:])
        if typed.cluster == "slurm" and not slurm.available():
            raise InputError("command line: --cluster slurm: there is no sbatch on this machine; use --cluster local")

    def run(self) -> None:
        """Check everything, then submit it (or show it)."""
        typed = self.typed
        tasks = tasks_of(typed.config, typed.overrides, typed.array)
        model = _config_class(self.script)
        configs = [_checked(words, model) for words in tasks]
        after = [self._found(word) for word in typed.after]
        code = freeze(self.project, self.home, wanted=typed.snapshot, write=not typed.dry_run)
        if not code.frozen:
            logs.log.warning("%s", code.facts["why"])
        if typed.job == "chain":
            self._chain(tasks, configs, after, code)
        else:
            self._one(typed.job, typed.name or _name(typed.job, typed.config, configs[0]), tasks, after, code)
        if typed.dry_run and configs[0] is not None:
            print(f"# the resolved config{' of the first task' if len(tasks) > 1 else ''}\n{dump(configs[0])}", end="")

    def _chain(self, tasks: list[list[str]], configs: list[Section | None], after: list[_After], code: Code) -> None:
        left_out = skipped(cast(list[Stages], configs), self.home)
        for job, why in left_out.items():
            print(f"{job:<10} skipped: {why}")
        before: list[list[str]] = []
        for stage in stages(tasks, [self.typed.config, *self.typed.overrides], left_out):
            name = _name(stage.job, self.typed.config, configs[0]) if self.typed.name is None else ""
            name = name or f"{stage.job}-{self.typed.name}"
            # Task by task only behind a stage of this chain that has the same tasks.
            how = stage.how if before == stage.tasks else "afterok"
            waits = [_After(one.id, how, one.slurm, one.done) for one in after]
            after, before = [self._one(stage.job, name, stage.tasks, waits, code)], stage.tasks

    def _one(self, job: str, name: str, tasks: list[list[str]], after: list[_After], code: Code) -> _After:
        facts = {
            "name": name,
            "cluster": "slurm" if self.on_slurm else "local",
            "job": job,
            "typed": shlex.join([f"jobs/{job}.py", *tasks[0], *self.flags]),
            "tasks": [self._words(words, code) for words in tasks],
            "python": self._python,
            "program": [*self._inside(), str(code.root / "jobs" / f"{job}.py")],
            "place": str(code.root),
            "variables": {"ISOBAR_HOME": str(self.home), "PYTHONPATH": _python_path(code.root), **_git_note(code)},
            "after": [{"id": one.id, "how": one.how} for one in after if not one.done],
            "requeues": self.profile.requeues,
            "parallel": min(self.profile.array_parallelism, max(1, (os.cpu_count() or 1) // self.profile.cpus)),
            "profile": {"name": self.profile_name, **self.profile.model_dump(mode="json", exclude_defaults=True)},
            "code": code.facts,
        }
        most = slurm.max_array_size() if self.on_slurm and len(tasks) > 1 else len(tasks)
        waits = _dependencies(after, len(chunks(len(tasks), most)))
        if self.typed.dry_run:
            return self._show(facts, waits, most, after)
        ticket = new_ticket(self.home, facts)
        if not self.on_slurm:
            pid = detach(ticket)
            print(f"{ticket.id:<5} {name}{_count(tasks)}: process {pid}; log {ticket.tasks[0].folder / 'log'}")
            return _After(ticket.id, "afterok", [])
        from pipeline.submit.sbatch import submit  # submitit: only where there is Slurm

        ids = submit(ticket, self.profile, waits, most)
        print(f"{ticket.id:<5} {name}{_count(tasks)}: Slurm job {shorten(dict.fromkeys(map(_main_id, ids)))}")
        return _After(ticket.id, "afterok", list(dict.fromkeys(map(_main_id, ids))))

    def _show(self, facts: dict[str, Any], waits: list[str], most: int, after: list[_After]) -> _After:
        ticket = f"j{self.number}"
        self.number += 1
        print(f"# {ticket} {facts['name']}: {facts['typed']}" + "".join(f"  (after {one.id})" for one in after))
        for words in facts["tasks"] if len(facts["tasks"]) > 1 else ():
            print(f"#   {shlex.join(words)}")
        if self.on_slurm and shutil.which("srun"):
            from pipeline.submit.sbatch import texts

            folder = jobs_folder(self.home) / ticket
            print("\n".join(texts(folder, facts, self.profile, waits, most)))
        else:
            print(shlex.join([*facts["program"], *facts["tasks"][0]]))
        return _After(ticket, "afterok", [f"<id of {ticket}>"] * len(chunks(len(facts["tasks"]), most)))

    def _words(self, words: list[str], code: Code) -> list[str]:
        """Return a task's words with its config where it stays as it is: in the copied code, or copied beside it."""
        path, more = Path(words[0]), [*words[1:], *self.flags]
        if path.is_dir() or not path.exists():
            return [str(path.resolve()) if path.exists() else words[0], *more]
        full = path.resolve()
        if code.holds(self.project, full):
            return [str(full.relative_to(self.project)), *more]
        if not code.frozen:
            return [str(full), *more]
        copy = jobs_folder(self.home) / "configs" / digest8(full.read_text(encoding="utf-8")) / full.name
        if not copy.exists() and not self.typed.dry_run:
            make_folder(copy.parent)
            part = copy.with_name(f".{copy.name}.{os.getpid()}")
            shutil.copyfile(full, part)
            os.replace(part, copy)
        return [str(copy), *more]

    @property
    def _python(self) -> str:
        return self.profile.python or sys.executable

    def _inside(self) -> list[str]:
        """Return the Python that runs the job, in its container if it has one."""
        if self.profile.container:
            bind = ["--bind", str(self.home)] + (["--nv"] if self.profile.gpus else [])
            return ["apptainer", "exec", *bind, self.profile.container, "python"]
        return [self._python]

    def _found(self, word: str) -> _After:
        try:
            pairs = list(find(self.home, word))
        except InputError:
            if self.on_slurm and word.isdigit():
                return _After(word, "afterok", [word])
            raise
        ticket = pairs[0][0]
        if ticket.on_slurm != self.on_slurm:
            raise InputError(f"command line: --after {word}: {ticket.id} is not on the cluster that this job goes to")
        states = {state(ticket, task) for _, task in pairs}
        ended = states & {"failed", "cancelled"}
        if ended:
            raise InputError(f"command line: --after {word}: {ticket.id} has {ended.pop()}, so this would never start")
        ids = dict.fromkeys(_main_id(task.slurm_id) for _, task in pairs if task.slurm_id)
        return _After(ticket.id, "afterok", list(ids), states == {"done"})


def _dependencies(after: list[_After], pieces: int) -> list[str]:
    """Return sbatch's ``--dependency`` of each piece of an array, or one for all."""
    waits = [one for one in after if not one.done and one.slurm]
    if len(waits) == 1 and waits[0].how == "aftercorr" and len(waits[0].slurm) == pieces:
        return [f"aftercorr:{one}" for one in waits[0].slurm]
    ids = [one for wait in waits for one in wait.slurm]
    return [f"afterok:{':'.join(ids)}"] if ids else []


def _main_id(slurm_id: str) -> str:
    return slurm_id.partition("_")[0]


def _count(tasks: list[list[str]]) -> str:
    return f" ({len(tasks)} tasks)" if len(tasks) > 1 else ""


def _name(job: str, argument: str, config: Section | None) -> str:
    return f"{job}-{getattr(config, 'name', None) or Path(argument).stem}"


def _git_note(code: Code) -> dict[str, str]:
    """Return the variable that tells a copy of the code which commit it is of."""
    return {"ISOBAR_GIT": json.dumps(code.facts["git"])} if code.frozen else {}


def _python_path(root: Path) -> str:
    return os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])


def _script(project: Path, job: str) -> Path:
    names = sorted(path.stem for path in (project / "jobs").glob("*.py") if path.stem not in _NOT_SUBMITTED)
    if job not in names:
        raise InputError(f"command line: no job {job!r}{near(job, names)} Jobs: {shorten(names, 40)}")
    return project / "jobs" / f"{job}.py"


def _config_class(script: Path) -> type[Section] | None:
    """Return the class of a job's config: that of its ``main(job: Job[…])``; ``None`` if it has none."""
    spec = importlib.util.spec_from_file_location(f"isobar_job_{script.stem}", script)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main = getattr(module, "main", None)
    hint = typing.get_type_hints(main).get("job") if main else None
    found = [one for one in typing.get_args(hint) if isinstance(one, type) and issubclass(one, Section)]
    return found[0] if found else None


def _checked(words: list[str], model: type[Section] | None) -> Section | None:
    """Return the resolved config of a task.

    Raises:
        InputError: what the job itself would say.
    """
    if model is None:
        return None
    path = Path(words[0])
    return load(path / "config.yaml" if path.is_dir() else path, model, words[1:]).config


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are answered in one line."""

    def error(self, message: str) -> typing.NoReturn:
        """Report a wrong command line in one line."""
        sys.stderr.write(f"command line: {message}; see --help\n")
        sys.exit(BAD_INPUT)


def _parser(doc: str) -> argparse.ArgumentParser:
    parser = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    add = parser.add_argument
    add("job", help="a job of jobs/ by its name, or chain: its stages as jobs, each after the one before")
    add("config", help="a .yaml or .py config, or a run folder of results/")
    add("overrides", nargs="*", metavar="key=value", help="settings on top; what follows -- goes to the job as it is")
    add("--profile", metavar="NAME", help="what it asks of the cluster, from slurm/profiles.yaml")
    add("--profiles", metavar="FILE", help="another file of profiles (or ISOBAR_PROFILES)")
    add("--set", action="append", default=[], metavar="key=value", help="a setting of the profile, e.g. time=02:00:00")
    add("--cluster", choices=("slurm", "local"), help="slurm where there is sbatch, else local: a process here")
    add("--array", nargs="+", default=[], metavar="TASK", help="a task each: 'train.seed=1..3', a config, or @file")
    add("--after", action="append", default=[], metavar="NAME|ID", help="start when this job is done (may be repeated)")
    add("--name", help="name for --after and status; <job>-<experiment> if not given")
    add(
        "--no-snapshot",
        dest="snapshot",
        action="store_false",
        help="run the working tree, not a copy of it",
    )
    add("--dry-run", action="store_true", help="print what would be submitted, and submit nothing")
    add("--verbose", action="store_true", help="log details")
    return parser
