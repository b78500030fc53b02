"""Runs a command that prints JSON lines, and kills it when it is silent for too long."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, Queue


def lines(command: list[str], patience: Callable[[], float]) -> Iterator[dict]:
    """The lines the command prints, then one {"event": "end", "end": reason} if it printed none itself.

    `patience()` is asked before every wait: the seconds the next line may take. After them it is killed.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    queue: Queue[str | None] = Queue()
    errors: list[str] = []

    def read() -> None:
        for text in process.stdout:
            queue.put(text)
        queue.put(None)

    threading.Thread(target=read, daemon=True).start()
    threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True).start()
    ended = False
    try:
        while True:
            start, seconds = time.perf_counter(), max(patience(), 0.0)
            try:
                text = queue.get(timeout=seconds)
            except Empty:
                waited = time.perf_counter() - start
                yield {"event": "end", "end": "killed", "after": waited}
                return
            if text is None:
                break
            if text.startswith("{"):  # anything else is a library talking
                line = json.loads(text)
                ended |= line["event"] == "end"
                yield line
        if not ended:
            code = process.wait()
            last = errors[-1].strip()[:150] if errors else f"exit code {code}"
            yield {"event": "end", "end": f"failed: {last}"}
    finally:
        process.kill()
        process.wait()
