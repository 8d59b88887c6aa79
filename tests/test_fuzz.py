"""Files that users may be handed, of every kind: read or refused by a `UserError`, within two seconds each."""

import io
import json
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from runtime.arrays import read_array, read_arrays
from runtime.command.settings import from_json
from runtime.errors import UserError
from runtime.field.captures.read import read_capture
from runtime.guidance.coding import Header, Step, read_code, write_code
from runtime.loop.folder import RunFolder, read_config, result_of
from runtime.pictures import read_png
from runtime.vector.svg.read import parse_svg
from tests.fuzzing import mutated, shuffled
from tests.serving import toy
from train.further.archive import read_archive
from train.lmconv.archives import read_idx, read_npz

SLOWEST_S = 2.0


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str
    sound: tuple[bytes, ...]
    """Content of files that are read."""
    read: Callable[[Path], object]
    pieces: tuple[bytes, ...]
    """What is put in between."""


def png(mode: str, **options: object) -> bytes:
    picture = Image.fromarray(np.random.RandomState(0).randint(0, 255, (9, 7, 4), np.uint8), "RGBA").convert(mode)
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file with its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


PIXELS = np.random.RandomState(0).randint(0, 255, (3, 5, 5, 3), np.uint8)
POSES = np.tile(np.eye(4), (3, 1, 1))
ABOUT = np.frombuffer(b'{"format": 1, "subject": "ddpm", "config": {}}', np.uint8)
IDX = b"\x00\x00\x08\x03" + struct.pack(">3I", 2, 4, 4) + bytes(range(32))
CODE = write_code(Header(network=7, seed=1, steps=4, sent=2), [Step(3, (1, 2, 7)), Step(0)])
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><style>.a{fill:red}@media print{b{c:d}}</style>'
    b'<defs><clipPath id="c"><rect width="9" height="9"/></clipPath><linearGradient id="g"><stop offset="1"/>'
    b'</linearGradient></defs><g transform="translate(1 2) rotate(30)" opacity=".5"><path class="a" d="M1 2h3v-4q5 6 7'
    b' 8t1 1a5 5 0 1 0 9 9z" clip-path="url(#c)"/><path id="p" d="M0 0h5v5" stroke="url(#g)"/></g>'
    b'<use href="#p" x="1em"/></svg>',
    b'<?xml version="1.0" encoding="utf-8"?><!DOCTYPE svg [<!ENTITY e "red">]><svg xmlns="http://www.w3.org/2000/svg" '
    b'width="9" height="8"><polygon points="1,2 3,4 5 6" style="fill:&e;stroke:#12f8"/><switch><circle r="3"/></switch>'
    b'<svg viewBox="0 0 2 2" preserveAspectRatio="xMinYMax slice"><ellipse rx="1" ry="2"/></svg></svg>',
)
PIECES = (b"", b"\x00", b"\xff" * 8, b"9" * 400, b"-1", b"1e999", b"[" * 300, b"(" * 300, b"<g>" * 300, b"&e;" * 50)

DAMAGED = (chunk(b"iCCP", b"a\0\0x"), chunk(b"IDAT", b"x"), chunk(b"tRNS", b"\0"), chunk(b"PLTE", bytes(7)))

KINDS = [
    Kind(
        "SVG", SVG, lambda path: parse_svg(path.read_bytes(), name="x.svg"), (*PIECES, b"url(#c)", b"/*", b"M0 0z" * 99)
    ),
    Kind(
        "PNG",
        (png("RGBA"), png("L"), png("P", transparency=0), png("RGB", interlace=1), png("1")),
        read_png,
        (
            *PIECES,
            chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20))),
            chunk(b"iCCP", b"a\0\0x"),
            chunk(b"IDAT", b""),
        ),
    ),
    Kind("NumPy array", (npy(PIXELS), npy(POSES)), read_array, (*PIECES, b"'shape': (99999999999, 9)", b"|O")),
    Kind("NumPy archive", (npz(a=PIXELS, b=POSES),), read_arrays, (*PIECES, b"PK\x03\x04", b"PK\x05\x06")),
    Kind(
        "capture archive", (npz(images=PIXELS, poses=POSES, focal=np.array(9.0)),), read_capture, (*PIECES, b"images")
    ),
    Kind("training archive", (npz(x_train=PIXELS, x_test=PIXELS),), read_npz, (*PIECES, b"x_train.npy")),
    Kind(
        "archive of training further",
        (npz(**{"about": ABOUT, "train": PIXELS, "weight/a": POSES}),),
        read_archive,
        (*PIECES, b"about", b'{"format": NaN}'),
    ),
    Kind("IDX", (IDX,), read_idx, (*PIECES, b"\x00\x00\x08\x03")),
    Kind("picture code", (CODE,), lambda path: read_code(path.read_bytes(), path.name), PIECES),
]


def is_read_or_refused(kind: Kind, path: Path, content: bytes) -> None:
    """Fail where a reader raises anything but a `UserError`, or takes long."""
    path.write_bytes(content)
    begun = time.process_time()
    try:
        kind.read(path)
    except UserError as error:
        assert 0 < len(str(error)) < 2000
    spent = time.process_time() - begun
    assert spent < SLOWEST_S, f"{kind.name}: {spent:.1f} s for {len(content)} bytes"


def fuzz(kind: Kind, folder: Path, count: int) -> None:
    """Read `count` files that are nearly sound; a failure names the number that makes its content again."""
    path = folder / f"file{'.npz' if 'archive' in kind.name else ''}"
    for number in range(count):
        random = Random(number)
        content = shuffled(random.choice(kind.sound), random, list(kind.pieces))
        try:
            is_read_or_refused(kind, path, content)
        except Exception as error:
            error.add_note(f"{kind.name}, number {number}: {content[:400]!r}")
            raise


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_sound_file_is_read(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / ("file.npz" if "archive" in kind.name else "file")
    for sound in kind.sound:
        path.write_bytes(sound)
        kind.read(path)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_hundreds_of_damaged_files_are_read_or_refused(kind: Kind, tmp_path: Path) -> None:
    fuzz(kind, tmp_path, 300)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_hundred_thousand_damaged_files_are_read_or_refused(kind: Kind, tmp_path: Path, inputs: int) -> None:
    fuzz(kind, tmp_path, inputs)


def fuzz_runs(folder: Path, count: int) -> None:
    """Read `count` run folders one of whose documents is nearly sound."""
    run = folder / "run"
    config = {name: str(value) if isinstance(value, Path) else value for name, value in vars(toy.Config()).items()}
    RunFolder.create(run, {"method": "toy", "config": {**config, "limits": [0, 100]}}).close()
    (run / "result.json").write_text('{"files": {"/tmp/a.svg": "00"}}')
    (run / "checkpoint.json").write_text('{"stage": 0, "step": 1, "file": "x", "sha256": "0", "numbers": {"a": 1}}')
    (run / "loss.jsonl").write_text('{"stage": 0, "step": 1, "loss": 0.5, "name": "paint", "terms": {}}\n')
    sound = {file.name: file.read_bytes() for file in run.iterdir() if file.suffix in (".json", ".jsonl")}
    for number in range(count):
        random = Random(number)
        name = random.choice(sorted(sound))
        (run / name).write_bytes(mutated(sound[name], random))
        begun = time.process_time()
        try:
            result_of(run)
            from_json(toy.Config, read_config(run).get("config"), "config.json")
            with RunFolder.reopen(run) as opened:
                opened.forget_after(0, 1)
                opened.load()
        except UserError as error:
            assert 0 < len(str(error)) < 2000
        except Exception as error:
            error.add_note(f"number {number}: {name} {(run / name).read_bytes()[:400]!r}")
            raise
        assert time.process_time() - begun < SLOWEST_S
        (run / name).write_bytes(sound[name])


def test_hundreds_of_damaged_run_folders_are_read_or_refused(tmp_path: Path) -> None:
    fuzz_runs(tmp_path, 400)


@pytest.mark.slow
def test_a_hundred_thousand_damaged_run_folders_are_read_or_refused(tmp_path: Path, inputs: int) -> None:
    fuzz_runs(tmp_path, inputs)


GROWING: dict[str, Callable[[int, Path], Callable[[], object]]] = {
    "keys of a bundle": lambda n, path: written(path, json.dumps({f"k{i}": 0 for i in range(n)}), read_manifest_at),
    "equal keys": lambda n, path: written(path, "{" + '"a":0,' * n + '"a":0}', read_manifest_at),
    "keys and the last one twice": lambda n, path: written(
        path, "{" + "".join(f'"k{i}":0,' for i in range(n)) + f'"k{n - 1}":0}}', read_manifest_at
    ),
    "frames of a capture": lambda n, path: written(
        path,
        json.dumps({"fl_x": 9, "frames": [{"file_path": "a.png", "transform_matrix": 0}] * (n // 10)}),
        read_capture,
    ),
    "losses of a run": lambda n, path: written(path, '{"stage":0,"step":1,"loss":1,"name":"a"}\n' * n, read_losses),
    "texts of a PNG": lambda n, path: written(path, with_chunks(n), read_png),
    "entries of an archive": lambda n, path: written(path, zipped(n), read_arrays),
    "blocks of a code": lambda n, path: written(
        path, write_code(Header(network=7, seed=1, steps=4, sent=1), [Step(3, (1,) * n)]), read_code_at
    ),
}
"""What reads a file of a length, to be timed."""


def written(path: Path, content: str | bytes, read: Callable[[Path], object]) -> Callable[[], object]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return lambda: read(path)


def read_manifest_at(path: Path) -> object:
    from runtime.engines.bundle import read_manifest

    return read_manifest(path.read_bytes(), "bundle.json")


def read_losses(path: Path) -> object:
    from runtime.loop.folder import _records  # pyright: ignore[reportPrivateUsage]

    return list(_records(path))


def read_code_at(path: Path) -> object:
    return read_code(path.read_bytes(), path.name)


def with_chunks(count: int) -> bytes:
    content = png("L")
    return content[:33] + chunk(b"tEXt", b"a\0b") * count + content[33:]


def zipped(count: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(count // 10):
            archive.writestr(f"{number}.npy", npy(np.zeros(1)))
    return file.getvalue()


@pytest.mark.parametrize("name", GROWING)
def test_twice_the_file_takes_no_more_than_about_twice_the_time(name: str, tmp_path: Path) -> None:
    def seconds(length: int) -> float:
        read = GROWING[name](length, tmp_path / "transforms.json")
        times = []
        for _ in range(3):
            begun = time.process_time()
            try:
                read()
            except UserError as error:
                assert len(str(error)) < 4000
            times.append(time.process_time() - begun)
        return min(times)

    # Four times the length: 4 for what is linear, 16 for what is quadratic; what takes next to no time is not judged.
    assert seconds(40_000) < 8 * seconds(10_000) + 0.05
