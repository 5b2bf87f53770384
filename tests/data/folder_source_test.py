"""Images from folders: which are found, which are skipped, and what is reported."""

import errno
import multiprocessing
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cl_keras.data import checking, compare, folder, kept_images, load, reading
from cl_keras.data.image_header import PROBLEMS, TOO_LARGE
from tests.export.image_forms import REFUSED


def picture(number, size=(8, 8)):
    """A PIL image of one color, which encodes its number."""
    return Image.new("RGB", size, (number, number, number))


def fill(folder, names, size=(8, 8)):
    """Saves picture 0, 1, … under the names, losslessly."""
    for number, name in enumerate(names):
        path = pathlib.Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number, size).save(path)
    return folder


def folder_of(path, **options):
    return load(f"folder:{path}", progress=False, **options)


@pytest.fixture
def twenty(tmp_path):
    """A folder of 00.png … 19.png, picture i in file i."""
    return fill(tmp_path / "twenty", [f"{number:02}.png" for number in range(20)])


def spoil(path):
    """A PNG with an intact head and tail whose pixels cannot be decoded."""
    data = bytearray(path.read_bytes())
    start = data.index(b"IDAT") + 4
    data[start : start + 8] = b"\0" * 8
    path.write_bytes(data)


def test_flat_folder_in_the_order_of_names(tmp_path):
    fill(tmp_path, ["b.png", "ä ö.PNG", "a.bmp", "日本.gif", "Z.webp"])
    source = folder_of(tmp_path)
    assert source.names == ["Z.webp", "a.bmp", "b.png", "ä ö.PNG", "日本.gif"]
    assert source.image_shape == (8, 8, 3) and source.labels is None and source.skipped == []
    values = source.images(range(5))[:, 0, 0, 0]
    assert np.abs(values.astype(int) - [4, 2, 0, 1, 3]).max() <= 2  # WebP here is lossy
    assert source.name == f"folder:{tmp_path}"


def test_class_folders_become_labels(tmp_path):
    fill(tmp_path, ["dog/1.png", "cat/deep/2.png", "cat/3.png", "dog/4.png"])
    source = folder_of(tmp_path)
    assert source.names == ["cat/3.png", "cat/deep/2.png", "dog/1.png", "dog/4.png"]
    assert source.class_names == ["cat", "dog"]
    assert source.labels.dtype == np.int64 and source.labels.tolist() == [0, 0, 1, 1]
    element = next(iter(source.batches(4, shuffle=False)))
    assert element["label"].numpy().tolist() == [0, 0, 1, 1]
    assert folder_of(tmp_path, labels=None).labels is None
    assert load(tmp_path, labels=False, progress=False).class_names is None


def test_one_folder_means_no_classes(tmp_path):
    fill(tmp_path, ["only/1.png", "only/2.png"])
    assert folder_of(tmp_path).labels is None


def test_a_stray_image_beside_class_folders_is_named_and_unlabeled(tmp_path):
    fill(tmp_path, ["ant/0.png", "ant/1.png", "bee/0.png", "preview.png"])
    with pytest.warns(UserWarning, match="1 images lie beside .* ant, bee \\('preview.png'\\)"):
        source = folder_of(tmp_path)
    assert source.labels.tolist() == [0, 0, 1, -1] and source.class_names == ["ant", "bee"]
    assert folder_of(tmp_path, labels=None).labels is None


def test_folders_beside_most_images_are_not_classes(tmp_path):
    fill(tmp_path, ["2019/0.png", "2020/1.png", "a.png", "b.png"])
    with pytest.warns(UserWarning, match="not taken as classes"):
        assert folder_of(tmp_path).labels is None


def test_splits_side_by_side_share_one_numbering(tmp_path):
    fill(tmp_path / "train", ["ant/0.png", "bee/0.png", "cat/0.png"])
    fill(tmp_path / "test", ["ant/0.png", "cat/0.png", "dog/0.png"])
    train, test = folder_of(tmp_path / "train"), folder_of(tmp_path / "test")
    assert train.class_names == test.class_names == ["ant", "bee", "cat", "dog"]
    assert train.labels.tolist() == [0, 1, 2] and test.labels.tolist() == [0, 2, 3]


def test_other_folders_are_numbered_by_class_names(tmp_path):
    fill(tmp_path / "new", ["ant/0.png", "cat/0.png"])
    source = folder_of(tmp_path / "new", class_names=["cat", "bee", "ant"])
    assert source.labels.tolist() == [2, 0] and source.class_names == ["cat", "bee", "ant"]
    with pytest.raises(ValueError, match="has classes that class_names lacks: 'cat'"):
        folder_of(tmp_path / "new", class_names=["ant", "bee"])


def test_given_labels_follow_the_sorted_names(twenty):
    (twenty / "03.png").write_bytes(b"")
    source = folder_of(twenty, labels=range(20))
    assert source.labels.tolist() == list(range(20))
    with pytest.raises(ValueError, match="received 19 labels for 20 image files"):
        folder_of(twenty, labels=range(19))


def test_other_and_hidden_files_do_not_count(tmp_path):
    fill(tmp_path, ["1.png", ".hidden.png", ".cache/2.png"])
    for name in ["README.txt", ".DS_Store", "Thumbs.db", "._1.png", "noextension"]:
        (tmp_path / name).write_text("no image")
    source = folder_of(tmp_path)
    assert source.names == ["1.png"] and source.skipped == []


def test_links_are_followed_and_loops_end(tmp_path):
    fill(tmp_path / "elsewhere", ["2.png"])
    folder = fill(tmp_path / "photos", ["1.png", "sub/3.png"])
    os.symlink(folder, folder / "sub" / "loop")
    os.symlink(tmp_path / "elsewhere", folder / "linked")
    assert folder_of(folder, labels=None).names == ["1.png", "linked/2.png", "sub/3.png"]


def test_channels_and_size_are_converted(tmp_path):
    Image.new("RGBA", (30, 20), (0, 0, 0, 0)).save(tmp_path / "a.png")
    Image.new("L", (9, 15), 7).save(tmp_path / "b.jpg")
    source = folder_of(tmp_path, image_size=12, channels=1)
    assert source.image_shape == (12, 12, 1)
    np.testing.assert_array_equal(source.images([0, 1])[:, 5, 5, 0], [255, 7])


def test_turned_photographs_count_with_their_upright_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(0, (10, 6)).save(tmp_path / "a.jpg", exif=exif)
    picture(1, (6, 10)).save(tmp_path / "b.jpg")
    assert folder_of(tmp_path).image_shape == (10, 6, 3)


def test_mixed_sizes_need_a_size(tmp_path):
    fill(tmp_path, ["a.png", "b.png"])
    picture(3, (9, 7)).save(tmp_path / "c.png")
    with pytest.raises(ValueError, match=r"a.png is 8 × 8, c.png is 9 × 7.*image_size=8\)"):
        folder_of(tmp_path)
    assert folder_of(tmp_path, image_size=8).image_shape == (8, 8, 3)


def test_missing_paths_files_and_empty_folders_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*/nowhere"):
        folder_of(tmp_path / "nowhere")
    fill(tmp_path, ["1.png"])
    with pytest.raises(NotADirectoryError, match="expected a folder of images; .*1.png is a file"):
        folder_of(tmp_path / "1.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no image in the folder .*found no files at all"):
        folder_of(tmp_path / "empty")
    for name in ["a.txt", "b.txt", "c.heic"]:
        (tmp_path / "empty" / name).write_text("no image")
    with pytest.raises(ValueError, match=r"found other files: 2 × \.txt, 1 × \.heic"):
        folder_of(tmp_path / "empty")


def big_picture(path):
    """A picture with enough detail that half a file is half a picture."""
    noise = np.random.default_rng(1).integers(0, 256, [64, 64, 3]).astype("uint8")
    Image.fromarray(noise).save(path)


def checked(path):
    return checking.check_files(path.parent, [path.name], sizes=True)[0]


@pytest.mark.parametrize("extension", ["jpg", "png", "gif", "bmp", "webp"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_truncated_files_are_found_at_the_start(tmp_path, extension, share):
    path = tmp_path / f"cut.{extension}"
    big_picture(path)
    assert checked(path).size == (64, 64)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    problem = checked(path).problem
    assert any(part in problem for part in ["truncated", "not a JPEG", "header is damaged"])


@pytest.mark.parametrize("extension", ["jpg", "png", "gif", "webp"])
def test_pictures_with_trailing_bytes_are_kept(tmp_path, extension):
    path = tmp_path / f"more.{extension}"
    big_picture(path)
    path.write_bytes(path.read_bytes() + b"a film of three seconds " * 50)
    assert checked(path).size == (64, 64)


@pytest.mark.parametrize("waits", [False, True])
def test_files_are_checked_in_threads_only_if_the_disk_waits(twenty, monkeypatch, waits):
    spoil(twenty / "03.png")
    (twenty / "04.png").write_bytes(b"cut")
    expected = checking.check_files(twenty, names := sorted(os.listdir(twenty)), sizes=True)
    check, threads = checking._check, []

    def counted(root, name, sizes):
        threads.append(threading.current_thread())
        return check(root, name, sizes)

    monkeypatch.setattr(checking, "CHUNK", 3)
    monkeypatch.setattr(checking, "PATIENCE", -100.0 if waits else 100.0)
    monkeypatch.setattr(checking, "_check", counted)
    assert checking.check_files(twenty, names, sizes=True) == expected
    alone = [thread is threading.main_thread() for thread in threads]
    assert len(alone) == 20 and sum(alone) == (3 if waits else 20)


def test_every_kind_of_bad_file_is_skipped_with_its_reason(twenty):
    (twenty / "b_empty.jpg").write_bytes(b"")
    (twenty / "b_text.png").write_text("this is no picture")
    os.symlink(twenty / "nowhere.png", twenty / "b_link.png")
    os.mkfifo(twenty / "b_pipe.png")
    (twenty / "b_bomb.png").write_bytes(REFUSED["a huge PNG"])
    for name in ["c.heic", "d.dng", "e.txt"]:
        (twenty / name).write_bytes(b"0123")
    source = folder_of(twenty, max_bad_share=0.3)
    advice = "convert it to PNG or JPEG"
    reasons = dict(source.skipped)
    assert reasons == {
        "c.heic": f"HEIC (.heic) is not read: {advice}",
        "d.dng": f"camera raw (.dng) is not read: {advice}",
        "b_bomb.png": PROBLEMS[TOO_LARGE],
        "b_empty.jpg": "empty file",
        "b_link.png": "cannot be opened: No such file or directory",
        "b_pipe.png": "not a regular file",
        "b_text.png": "not a JPEG, PNG, GIF, BMP, WebP or TIFF image",
    }
    assert len(source) == 25 and source.names[-1] == "b_text.png"
    assert source.images([20])[0, 0, 0, 0] == 0, "the first stands in for what follows the last"


def test_a_folder_with_tiffs_is_read_with_a_warning_about_serving(twenty):
    Image.open(twenty / "03.png").save(twenty / "scan.TIFF")
    with pytest.warns(UserWarning, match=r"1 of 21 images are TIFF files \(scan.TIFF\).*to PNG"):
        source = folder_of(twenty)
    assert source.images([20]).max() == source.images([3]).max() == 3


def test_too_many_bad_files_are_an_error_that_names_them(twenty):
    for name in ["03.png", "07.png"]:
        (twenty / name).write_bytes(b"")
    message = (
        r"2 of 20 image files in .* \(10.0%\) cannot be read; max_bad_share allows 5.0%. "
        r"The first: 03.png \(empty file\); 07.png \(empty file\).*max_bad_share=0.1\)"
    )
    with pytest.raises(ValueError, match=message):
        folder_of(twenty)
    source = folder_of(twenty, max_bad_share=0.1)
    assert len(source) == 20 and source.images([3, 4])[:, 0, 0, 0].tolist() == [4, 4]


def test_a_folder_with_only_bad_files_is_always_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="1 of 1 image files .* None is left"):
        folder_of(tmp_path, max_bad_share=1.0)


def test_a_later_failure_is_replaced_by_the_next_image_and_listed_once(twenty):
    spoil(twenty / "04.png")
    spoil(twenty / "05.png")
    spoil(twenty / "19.png")
    source = folder_of(twenty, labels=range(20), max_bad_share=0.15)
    assert source.skipped == []
    batches = source.batches(4, shuffle=False)
    for _ in range(2):
        elements = list(batches)
        found = np.concatenate([element["index"] for element in elements])
        expected = list(range(20))
        expected[4], expected[5], expected[19] = 6, 6, 0
        assert found.tolist() == expected
        for element in elements:
            np.testing.assert_array_equal(element["image"][:, 3, 3, 1], element["index"])
            np.testing.assert_array_equal(element["label"], element["index"])
    assert sorted(name for name, _ in source.skipped) == ["04.png", "05.png", "19.png"]
    assert all("cannot be decoded" in reason for _, reason in source.skipped)


def test_a_replacement_does_not_depend_on_what_was_read_before(twenty):
    spoil(twenty / "04.png")
    first, second = folder_of(twenty), folder_of(twenty)
    second.images([4, 5, 3])
    for ours, theirs in zip(first.batches(5, seed=3), second.batches(5, seed=3), strict=True):
        np.testing.assert_array_equal(ours["index"], theirs["index"])
        np.testing.assert_array_equal(ours["image"], theirs["image"])


def test_too_many_failures_reach_the_user_through_the_pipeline(twenty):
    spoil(twenty / "04.png")
    spoil(twenty / "11.png")
    source = folder_of(twenty)
    message = r"2 of 20 image files .*max_bad_share allows 5.0%.*load\('folder:.*max_bad_share=0.1"
    with pytest.raises(tf.errors.OpError, match=message):
        list(source.batches(4))
    with pytest.raises(RuntimeError, match=message):
        source.images([11, 4])


def test_a_file_that_changes_its_size_counts_as_bad(twenty):
    source = folder_of(twenty)
    picture(0, (9, 9)).save(twenty / "02.png")
    assert source.images([2])[0, 0, 0, 0] == 3
    assert source.skipped == [("02.png", "is 9 × 9 pixels, unlike the others")]


def test_failures_are_counted_once_from_many_threads(twenty):
    spoil(twenty / "04.png")
    source = folder_of(twenty)
    threads = [threading.Thread(target=source.images, args=([4] * 8,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [name for name, _ in source.skipped] == ["04.png"]


def test_images_are_read_when_needed_and_then_kept(twenty):
    source = folder_of(twenty)
    shutil.copy(twenty / "09.png", twenty / "00.png")
    first = source.images([0])
    assert first[0, 0, 0, 0] == 9, "not read before it was needed"
    first[:] = 77
    shutil.copy(twenty / "08.png", twenty / "00.png")
    assert source.images([0, 1])[:, 0, 0, 0].tolist() == [9, 1]
    assert folder_of(twenty).images([0])[0, 0, 0, 0] == 8


def test_every_file_is_read_once_in_all_epochs(twenty, monkeypatch):
    source = folder_of(twenty, image_size=4)
    opened, read = [], folder.read_image_file
    monkeypatch.setattr(folder, "read_image_file", lambda path: opened.append(path) or read(path))
    for element in source.batches(5, seed=1).from_epoch(0).take(12):
        np.testing.assert_array_equal(element["image"][:, 1, 2, 0], element["index"])
    assert sorted(map(os.path.basename, opened)) == [f"{number:02}.png" for number in range(20)]


def test_images_that_do_not_fit_are_read_each_time(twenty, monkeypatch):
    monkeypatch.setattr(kept_images, "MAX_BYTES", 20 * 8 * 8 * 3 - 1)
    source = folder_of(twenty)
    assert source.images([0])[0, 0, 0, 0] == 0
    shutil.copy(twenty / "09.png", twenty / "00.png")
    assert source.images([0])[0, 0, 0, 0] == 9


def test_a_kept_image_is_not_used_once_its_file_is_known_to_be_bad(twenty):
    source = folder_of(twenty)
    source.images(range(20))
    spoil(twenty / "04.png")
    assert source.images([4])[0, 0, 0, 0] == 4, "nobody looked at the file again"
    next(source.glances([4], 8))
    assert source.images([4])[0, 0, 0, 0] == 5
    assert [name for name, _ in source.skipped] == ["04.png"]
    found = np.concatenate([each["index"] for each in source.batches(20, shuffle=False)])
    assert found.tolist() == [0, 1, 2, 3, 5, 5, *range(6, 20)]


def fail_once_each(monkeypatch, code, times=1):
    """Makes opening every file fail a number of times with an OS error."""
    failures, open_file = {}, os.open

    def opened(path, *args, **options):
        failures[path] = failures.get(path, 0) + 1
        if failures[path] <= times:
            raise OSError(code, os.strerror(code), path)
        return open_file(path, *args, **options)

    monkeypatch.setattr(reading, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(os, "open", opened)
    return failures


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE, errno.ESTALE, errno.ENOMEM])
def test_an_os_error_is_not_a_broken_image(twenty, monkeypatch, code):
    source = folder_of(twenty)
    failures = fail_once_each(monkeypatch, code, times=2)
    assert source.images(range(20))[:, 0, 0, 0].tolist() == list(range(20))
    assert source.skipped == [] and set(failures.values()) == {3}
    monkeypatch.undo()
    fail_once_each(monkeypatch, code)
    assert folder_of(twenty).skipped == [], "nor while the folder is checked"


def test_a_persistent_os_error_names_the_file(twenty, monkeypatch):
    source = folder_of(twenty)
    fail_once_each(monkeypatch, errno.EIO, times=99)
    with pytest.raises(OSError, match="after 3 attempts.*04.png") as error:
        source.images([4])
    assert error.value.errno == errno.EIO and source.skipped == []


def test_a_source_is_pickled(twenty):
    spoil(twenty / "04.png")
    source = folder_of(twenty, labels=range(20))
    source.images([4])
    again = pickle.loads(pickle.dumps(source))
    assert again._kept.get(5) is None and source._kept.get(5) is not None
    assert again.skipped == source.skipped and again.names == source.names
    np.testing.assert_array_equal(again.images(range(20)), source.images(range(20)))


def test_a_source_is_read_in_a_forked_process(twenty):
    source = folder_of(twenty)
    source.images(range(20))
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put(int(source.images([7])[0, 0, 0, 0])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **options: None)  # of threads beside fork
        child.start()
    child.join(20)
    assert child.exitcode == 0 and queue.get() == 7


HALF_READ = """
import sys
from cl_keras.data import load
photos = load("folder:" + sys.argv[1], image_size=256, progress=False, labels=None)
iterator = iter(photos.batches(64, seed=1).from_epoch(0))
next(iterator)
print("read")
"""


def test_a_half_read_iterator_does_not_keep_the_process(tmp_path):
    for number in range(200):
        picture(number, (256, 256)).save(tmp_path / f"{number}.png")
    command = [sys.executable, "-c", HALF_READ, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "read\n")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_subfolder_is_skipped_and_named(twenty):
    (twenty / "lost+found").mkdir(mode=0)
    assert folder_of(twenty).skipped == [
        ("lost+found/", "folder cannot be opened: Permission denied")
    ]


def test_a_subfolder_that_cannot_be_listed_is_skipped_and_named(twenty, monkeypatch):
    (twenty / "closed").mkdir()
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    source = folder_of(twenty)
    assert len(source) == 20
    assert source.skipped == [("closed/", "folder cannot be opened: Permission denied")]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_names_are_text_whatever_the_bytes(tmp_path):
    names = [b"caf\xe9.png", b"red\x1b[31m.png", b"back\\slash.png", "größe.png".encode()]
    for number, name in enumerate(names):
        picture(number).save(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    source = folder_of(tmp_path)
    assert sorted(source.names) == sorted(
        ["caf\\xe9.png", "red\\x1b[31m.png", "back\\\\slash.png", "größe.png"]
    )
    values = dict(zip(source.names, source.images(range(4))[:, 0, 0, 0], strict=True))
    assert values["caf\\xe9.png"] == 0 and values["red\\x1b[31m.png"] == 1
    assert all(name.encode("utf-8") and name.isprintable() for name in source.names)


def test_the_identity_shows_how_files_changed(twenty):
    before = folder_of(twenty).identity()
    assert before.images[4].name == "04.png"
    assert before.images[4].content.startswith(f"{(twenty / '04.png').stat().st_size}-")
    assert not compare(before, folder_of(twenty).identity())
    (twenty / "04.png").write_bytes(b"cut")
    spoiled = compare(before, folder_of(twenty).identity())
    assert spoiled.same_rows and spoiled.spoiled == ("04.png",)
    (twenty / "03.png").unlink()
    picture(3).save(twenty / "zz.png")
    size = (twenty / "05.png").stat().st_size
    picture(7).save(twenty / "05.png")
    assert (twenty / "05.png").stat().st_size == size, "another picture of the same size"
    changes = compare(before, folder_of(twenty).identity())
    assert (changes.vanished, changes.added, changes.spoiled, changes.changed) == (
        *(("03.png",), ("zz.png",), ("04.png",), ("05.png",)),
    )
    assert not changes.same_rows and "1 vanished (03.png)" in str(changes)
