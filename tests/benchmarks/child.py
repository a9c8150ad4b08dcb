"""
One piece of work in a fresh process: its wall and CPU seconds, and the peak of its resident memory.

What is to be imported and connected to before the clock starts, the module's `prepare` does, if it has one: benchmarks
of a whole process measure start-up, the others do not.
"""

import json
import resource
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path


def measured(work, **arguments):
    """Run `module:function` with arguments that JSON can hold: its own result, with seconds, cpu and megabytes."""
    done = subprocess.run(
        [sys.executable, __file__, work], input=json.dumps(arguments), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{work} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_megabytes():
    """Peak of this process's resident memory; the system's own count would include the process that started us."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 2**10


def main():
    """Read the arguments, work, and print what came of it as one line of JSON."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    module, function = sys.argv[1].split(":")
    arguments = json.load(sys.stdin)
    found = import_module(module)
    if hasattr(found, "prepare"):
        found.prepare(**arguments)
    started, cpu = time.perf_counter(), time.process_time()
    result = getattr(found, function)(**arguments)
    measures = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    sys.stdout.write(json.dumps({**(result or {}), **measures, "megabytes": peak_megabytes()}) + "\n")


if __name__ == "__main__":
    main()
