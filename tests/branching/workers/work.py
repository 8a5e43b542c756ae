"""What workers of the tests do; workers import this module by its name, so it imports next to nothing."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time


def act(word: str) -> str:
    """Do what the word says; by default say it back."""
    match word:
        case "exit":
            os._exit(3)
        case "exit loudly":
            print("out of licences", file=sys.stderr, flush=True)
            os._exit(4)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            import faulthandler

            faulthandler._sigsegv()  # type: ignore[attr-defined]
        case "raise":
            raise ValueError("no such\ncolumn")
        case "hang":
            time.sleep(1000)
        case "hold the interpreter":
            print("busy", flush=True)
            ctypes.PyDLL(None).sleep(1000)
        case "unpicklable":
            return lambda: None  # type: ignore[return-value]
        case "unreadable":
            return Unreadable()  # type: ignore[return-value]
        case "threads":
            return os.environ["OMP_NUM_THREADS"] + ("late" if "numpy" in sys.modules and "OMP_NUM_THREADS" not in os.environ else "")
        case "mute":
            print("a solver that talks on standard output")
            os.write(1, b"and from C\n")
        case "signals":
            return " ".join(_caught())
    return word


def _caught() -> list[str]:
    """What reaches a solver that handles signals by itself, as SCIP does, when the whole group gets them."""
    names: list[str] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: names.append(signal.Signals(number).name))
        os.kill(os.getpid(), number)
    time.sleep(0.05)
    return names


class Unreadable:
    """Leaves a worker, and cannot be made again."""

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return _refuse, ()


def _refuse() -> None:
    raise RuntimeError("from another version")


def nap(seconds: float) -> None:
    time.sleep(seconds)


def pid(_: object) -> int:
    return os.getpid()


def share(word: str, *shared: object) -> tuple[str, tuple[object, ...], int]:
    """The task, what it shares with others, and who did it."""
    return act(word), shared, os.getpid()


class Slow:
    """Takes a while to arrive."""

    def __reduce__(self) -> tuple[object, tuple[float]]:
        return time.sleep, (1.5,)


if __name__ == "__main__":
    from revibranch.branching.workers.process_pool import ProcessPool

    outcomes = ProcessPool(2, stay=True).run(act, ["first", "hold the interpreter"], lambda _: 900.0)
    while not select.select([sys.stdin], [], [], 0.0)[0]:  # until the input ends, the program looks after its workers
        next(outcomes)
