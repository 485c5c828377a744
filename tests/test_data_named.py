"""Downloads are real ones, from a server on this machine that serves small data sets in torchvision's formats."""

import functools
import gzip
import hashlib
import http.server
import pickle
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets

from nas.data.augmentations import AUGMENTATIONS
from nas.data.load import load_search_data, load_test
from nas.data.sets import DATA_SETS, cifar100
from nas.errors import DataError

CIFAR = torchvision.datasets.CIFAR100
FASHION = torchvision.datasets.FashionMNIST


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def cifar100_files(folder: Path) -> Path:
    """CIFAR-100 in its published format, of 10 training images and 4 test images in 2 classes."""
    folder.mkdir(parents=True)
    for name, count in (("train", 10), ("test", 4)):
        pixels = np.zeros((count, 3, 32, 32), np.uint8)
        pixels[:, 0] = 200
        pixels[:, 2, 0, 1] = np.arange(count)
        entry = {
            "data": pixels.reshape(count, 3072),
            "fine_labels": [index % 2 for index in range(count)],
            "coarse_labels": [0] * count,
        }
        (folder / name).write_bytes(pickle.dumps(entry))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["apple", "bear"]}))
    return folder


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.astype(np.uint8).tobytes()


def fashion_files(folder: Path) -> Path:
    """Fashion-MNIST in its published format, of 40 training images and 10 test images in 10 classes."""
    folder.mkdir(parents=True)
    for name, count in (("train", 40), ("t10k", 10)):
        pixels = np.arange(count).reshape(count, 1, 1).repeat(28, 1).repeat(28, 2)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx(pixels))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))
    return folder


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files can be downloaded as CIFAR-100 and Fashion-MNIST."""
    folder = tmp_path / "published"
    cifar, fashion = cifar100_files(folder / "cifar-100-python"), fashion_files(folder / "fashion")
    with tarfile.open(folder / CIFAR.filename, "w:gz") as archive:
        archive.add(cifar, "cifar-100-python")
    for file in fashion.iterdir():
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    monkeypatch.setattr(CIFAR, "train_list", [["train", md5(cifar / "train")]])
    monkeypatch.setattr(CIFAR, "test_list", [["test", md5(cifar / "test")]])
    monkeypatch.setattr(CIFAR, "meta", {**CIFAR.meta, "md5": md5(cifar / "meta")})
    monkeypatch.setattr(CIFAR, "tgz_md5", md5(folder / CIFAR.filename))
    monkeypatch.setattr(FASHION, "resources", [(name, md5(folder / name)) for name, _ in FASHION.resources])
    handler = functools.partial(SilentHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        point_torchvision_to(f"http://127.0.0.1:{server.server_port}/", monkeypatch)
        yield folder
        server.shutdown()
        thread.join()


class SilentHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def point_torchvision_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(CIFAR, "url", address + CIFAR.filename)
    monkeypatch.setattr(FASHION, "mirrors", [address])


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    point_torchvision_to(address, monkeypatch)


def test_the_names_are_known_without_a_heavy_library() -> None:
    code = "import sys, nas.data.sets; print(*nas.data.sets.DATA_SETS, {'torch', 'numpy'} & set(sys.modules) or '')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(DATA_SETS)
    assert {"cifar10", "cifar100", "digits", "fashion-mnist"} <= set(DATA_SETS)


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_named_data_set_says_what_it_is_and_what_suits_it(name: str) -> None:
    assert 0 < len(DATA_SETS[name].meaning) <= 80
    assert set(DATA_SETS[name].augmentation) <= set(AUGMENTATIONS)


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_named_data_set_is_read_or_says_where_its_files_belong(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    try:
        train, test = (DATA_SETS[name].read(part, tmp_path, False) for part in ("train", "test"))
    except DataError as error:
        told = str(error)
    else:
        told = ""
        assert train.class_names == test.class_names
        assert 0 < len(test.labels) < len(train.labels)
    assert not told or told.startswith(f"{name} is not in {tmp_path} and cannot be downloaded: ")
    assert not told or "Put its files there by hand" in told


def no_network(*arguments: object, **options: object) -> None:
    raise OSError("no network")


def test_the_probed_address_is_the_one_torchvision_downloads_from() -> None:
    assert CIFAR.url == cifar100.URL


def test_cifar100_is_downloaded_on_first_use_and_then_read_from_disk(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "new" / "data"
    first = load_search_data("cifar100", seed=0, directory=directory)
    assert "%" in capsys.readouterr().err
    (published / CIFAR.filename).unlink()
    again = load_search_data("cifar100", seed=0, directory=directory)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert first.checksum == again.checksum
    assert cifar100.is_on_disk(directory)


def test_cifar100_is_read_with_its_fine_labels_and_channels_last(published: Path, tmp_path: Path) -> None:
    data = load_search_data("cifar100", seed=0, directory=published)
    assert (data.name, data.shape, data.class_names) == ("cifar100", (3, 32, 32), ("apple", "bear"))
    assert data.augmentation == ("crop", "flip")
    assert (len(data.train.labels), len(data.validation.labels)) == (8, 2)
    assert (data.train.images[:, 0, 1, 2] % 2 == data.train.labels).all()
    assert data.train.images[0, 5, 6].tolist() == [200, 0, 0]


def test_the_test_split_of_cifar100_is_its_own(published: Path) -> None:
    test, class_names = load_test("cifar100", directory=published)
    assert test.images[:, 0, 1].tolist() == [[200, 0, 0], [200, 0, 1], [200, 0, 2], [200, 0, 3]]
    assert (test.labels.tolist(), class_names) == ([0, 1, 0, 1], ("apple", "bear"))


def test_nas_data_names_the_directory(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_DATA", str(published))
    assert load_search_data("cifar100", seed=0).classes == 2


def test_no_progress_is_shown_where_none_is_wanted(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_search_data("cifar100", seed=0, directory=tmp_path / "data", progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_download_cut_short_before_is_repeated(published: Path, tmp_path: Path) -> None:
    archive = tmp_path / "data" / CIFAR.filename
    archive.parent.mkdir()
    archive.write_bytes((published / CIFAR.filename).read_bytes()[:100])
    assert load_search_data("cifar100", seed=0, directory=archive.parent).classes == 2


def test_an_archive_put_there_by_hand_is_unpacked_without_network(
    published: Path, offline: None, tmp_path: Path
) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    shutil.copy(published / CIFAR.filename, directory)
    assert load_search_data("cifar100", seed=0, directory=directory).classes == 2


def test_a_damaged_archive_put_there_by_hand_is_named(published: Path, offline: None, tmp_path: Path) -> None:
    for content in (b"", (published / CIFAR.filename).read_bytes()[:-10], b"<html>no such page</html>"):
        (tmp_path / CIFAR.filename).write_bytes(content)
        with pytest.raises(DataError) as caught:
            load_search_data("cifar100", seed=0, directory=tmp_path)
        named = f"{tmp_path / CIFAR.filename} is damaged: it is not the published file and cannot be downloaded: "
        assert str(caught.value).startswith(named)


def test_unpacked_files_that_are_damaged_are_unpacked_again(published: Path, offline: None, tmp_path: Path) -> None:
    (published / "cifar-100-python" / "train").write_bytes(b"cut sho")
    assert load_search_data("cifar100", seed=0, directory=published).classes == 2


def test_an_unreachable_host_is_told_with_what_to_do(offline: None, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_search_data("cifar100", seed=0, directory=tmp_path)
    assert str(caught.value) == (
        f"cifar100 is not in {tmp_path} and cannot be downloaded: <urlopen error [Errno 111] Connection refused>. "
        f"Put its files there by hand ({tmp_path}/cifar-100-python.tar.gz), or give --dataset a .npz file or an image "
        "folder, or --dataset digits."
    )


def test_a_broken_archive_is_told_and_a_later_whole_one_is_used(published: Path, tmp_path: Path) -> None:
    whole = (published / CIFAR.filename).read_bytes()
    (published / CIFAR.filename).write_bytes(whole[:-10])
    with pytest.raises(DataError, match=r"cannot be downloaded: File not found or corrupted\. Put its files there"):
        load_search_data("cifar100", seed=0, directory=tmp_path / "data", progress=False)
    (published / CIFAR.filename).write_bytes(whole)
    assert load_search_data("cifar100", seed=0, directory=tmp_path / "data", progress=False).classes == 2


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="Python 3.11.4 brought what refuses such archives")
def test_an_archive_with_a_name_that_leads_out_of_the_folder_is_refused(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(published / CIFAR.filename, "w:gz") as archive:
        archive.add(published / "cifar-100-python", "cifar-100-python")
        archive.add(published / "cifar-100-python" / "meta", "../../outside")
    monkeypatch.setattr(CIFAR, "tgz_md5", md5(published / CIFAR.filename))
    with pytest.raises(DataError, match=r"cannot be downloaded: .*outside.* would be extracted to"):
        load_search_data("cifar100", seed=0, directory=tmp_path / "data" / "in", progress=False)
    assert not (tmp_path / "outside").exists()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"^cifar10 is not in .*/file/data and cannot be downloaded: .*Not a directory"):
        load_search_data("cifar10", seed=0, directory=tmp_path / "file" / "data")


def test_several_at_once_download_without_disturbing_each_other(published: Path, tmp_path: Path) -> None:
    checksums: list[str] = []

    def load() -> None:
        checksums.append(load_search_data("cifar100", seed=0, directory=tmp_path / "data").checksum)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(checksums) == 4
    assert len(set(checksums)) == 1


def test_fashion_mnist_is_downloaded_and_read(published: Path, tmp_path: Path) -> None:
    data = load_search_data("fashion-mnist", seed=0, directory=tmp_path / "data", progress=False)
    assert (data.shape, data.classes, data.class_names[9]) == ((1, 28, 28), 10, "Ankle boot")
    assert data.augmentation == ("crop", "flip")
    assert (data.train.images[:, 0, 0, 0] % 10 == data.train.labels).all()
    assert load_test("fashion-mnist", directory=tmp_path / "data")[0].labels.tolist() == list(range(10))


@pytest.mark.parametrize("kept", [0, 3, 10, 500])
def test_a_fashion_mnist_file_cut_short_is_repaired(published: Path, tmp_path: Path, kept: int) -> None:
    directory = tmp_path / "data"
    whole = load_search_data("fashion-mnist", seed=0, directory=directory, progress=False)
    file = directory / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:kept])
    assert load_search_data("fashion-mnist", seed=0, directory=directory, progress=False).checksum == whole.checksum


def test_an_unreachable_fashion_mnist_is_told_in_one_line(offline: None, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_search_data("fashion-mnist", seed=0, directory=tmp_path)
    assert f"Put its files there by hand ({tmp_path}/FashionMNIST/raw)" in str(caught.value)
    assert "\n" not in str(caught.value)
