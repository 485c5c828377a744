"""The network as one HTML page that runs it in a browser, with nothing but the page."""

import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from html import escape
from pathlib import Path, PurePath
from string import Template

from nas.errors import UserError
from nas.network.folds import parameters
from nas.results.export.formats import Contents, Format
from nas.results.export.formats.onnx import onnx_file
from nas.results.options import FormatOptions
from nas.results.pages.page import asset, packed, palettes_as_css, script_hash

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
"""What npm fetches. It runs the operators of every version that can be asked for."""

SCRIPT = "ort.wasm.bundle.min.mjs"
WASM = "ort-wasm-simd-threaded.wasm"
"""Files of the package: the runtime for processors alone, and the program it runs."""

BROWSER = "nas.results.export.browser"
"""Where the parts of the page lie."""

SECONDS = 300
"""How long npm may take."""


@dataclass(frozen=True)
class Runtime:
    """What is taken of the package: a module of JavaScript, and the WebAssembly that it runs."""

    script: bytes
    wasm: bytes

    @property
    def version(self) -> str:
        """What the script says of itself."""
        found = re.search(rb"ONNX Runtime Web v([-+.\w]+)", self.script[:1000])
        return found[1].decode() if found else "of an unknown version"


def runtime(asked: FormatOptions) -> Runtime:
    """The package in the folder that was named, or else from npm. Raises UserError where it is in neither."""
    return _fetched() if asked.ort_web is None else _found(Path(asked.ort_web))


def _found(folder: Path) -> Runtime:
    place = folder / "dist" if (folder / "dist").is_dir() else folder
    try:
        return Runtime((place / SCRIPT).read_bytes(), (place / WASM).read_bytes())
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read: {error.strerror}; give --ort-web the folder of the npm package "
            f"{PACKAGE} (npm pack {PACKAGE}@{VERSION}, unpacked)"
        ) from error


@lru_cache(maxsize=1)
def _fetched() -> Runtime:
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"--demo needs npm to fetch {PACKAGE}, and there is none; install it, or give --ort-web DIR")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", folder]
        quiet = ["--loglevel=error", "--prefer-offline", "--ignore-scripts", "--fetch-retries=1"]
        try:
            done = subprocess.run([*command, *quiet], capture_output=True, text=True, errors="replace", timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise UserError(f"npm has not fetched {PACKAGE} in {SECONDS} seconds; give --ort-web DIR") from error
        if done.returncode:
            said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            raise UserError(f"npm could not fetch {PACKAGE}@{VERSION}; give --ort-web DIR. npm says: {said}")
        return _unpacked(next(Path(folder).glob("*.tgz")))


def _unpacked(archive: Path) -> Runtime:
    with tarfile.open(archive) as opened:
        script, wasm = (opened.extractfile(f"package/dist/{name}") for name in (SCRIPT, WASM))
        assert script is not None
        assert wasm is not None
        return Runtime(script.read(), wasm.read())


def page(contents: Contents, by: Runtime) -> str:
    """The page: network, runtime, and how a picture becomes its input, all in the one file."""
    parts = {name: asset(name, BROWSER) for name in ("demo.html", "demo.css", "picture.js", "demo.js")}
    own = f"{parts['picture.js']}\n{parts['demo.js']}"
    card, about = contents.card, contents.card.preprocessing
    told = {"class_names": card.class_names, "preprocessing": asdict(about)}
    name = PurePath(card.dataset).name.removesuffix(".npz")
    return Template(parts["demo.html"]).substitute(
        policy=(
            f"default-src 'none'; script-src {script_hash(own)} blob: 'wasm-unsafe-eval'; style-src 'unsafe-inline'; "
            "img-src data: blob:; base-uri 'none'; form-action 'none'"
        ),
        title=escape(f"{name} in {parameters(contents.network):,} parameters"),
        palettes=palettes_as_css(),
        style=asset("page.css") + parts["demo.css"],
        lead=f"An image classifier of {len(card.class_names):,} classes. It runs in this page: no picture leaves it.",
        size=f"{about.height} × {about.width} pixels (height × width)",
        foot=escape(
            f"Made by nas {contents.versions['nas']}. Runs by ONNX Runtime Web {by.version}, © Microsoft Corporation, "
            "MIT licence."
        ),
        data=packed(json.dumps(told).encode()),
        model=packed(onnx_file(contents)),
        runtime=packed(by.script),
        wasm=packed(by.wasm),
        own=own,
    )


def _write(contents: Contents, folder: Path) -> None:
    (folder / "demo.html").write_text(page(contents, runtime(contents.asked)), encoding="utf-8")


def _versions(asked: FormatOptions) -> Mapping[str, str]:
    return {PACKAGE: runtime(asked).version}


FORMAT = Format(
    title="demo",
    meaning="with --demo: a page that runs the network in a browser, on pictures dropped, chosen or drawn",
    files=("demo.html",),
    write=_write,
    packages=("onnx", "onnxscript"),
    versions=_versions,
    is_asked=lambda asked: asked.demo,
)
