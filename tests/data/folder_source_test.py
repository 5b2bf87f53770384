"""Images from folders: what is found, what is skipped, and what is said about it."""

import os
import pathlib
import shutil
import threading

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cl_keras.data import image_files, load


def picture(number, size=(8, 8)):
    """A PIL image of one colour, from which its number can be read back."""
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
    """A PNG with a whole head and tail whose pixels cannot be decoded."""
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


@pytest.mark.parametrize("extra", ["top.png", None])
def test_one_folder_or_an_image_at_the_top_means_no_classes(tmp_path, extra):
    fill(tmp_path, ["only/1.png", "only/2.png"])
    if extra:
        fill(tmp_path, ["other/3.png", extra])
    assert folder_of(tmp_path).labels is None


def test_labels_of_ones_own_follow_the_sorted_names(twenty):
    (twenty / "03.png").write_bytes(b"")
    source = folder_of(twenty, labels=range(20))
    assert source.labels.tolist() == [n for n in range(20) if n != 3]
    with pytest.raises(ValueError, match="received 19 labels for 20 image files"):
        folder_of(twenty, labels=range(19))


def test_other_and_hidden_files_do_not_count(tmp_path):
    fill(tmp_path, ["1.png", ".hidden.png", ".cache/2.png"])
    for name in ["README.txt", ".DS_Store", "Thumbs.db", "._1.png", "noextension"]:
        (tmp_path / name).write_text("no image")
    source = folder_of(tmp_path)
    assert source.names == ["1.png"] and source.skipped == []


def test_links_are_followed_and_loops_do_no_harm(tmp_path):
    fill(tmp_path / "elsewhere", ["2.png"])
    folder = fill(tmp_path / "photos", ["1.png", "sub/3.png"])
    os.symlink(folder, folder / "sub" / "loop")
    os.symlink(tmp_path / "elsewhere", folder / "linked")
    assert folder_of(folder).names == ["1.png", "linked/2.png", "sub/3.png"]


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
    with pytest.raises(NotADirectoryError, match="1.png is a file; a folder"):
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


@pytest.mark.parametrize("extension", ["jpg", "png", "gif", "bmp", "webp"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_truncated_files_are_found_at_the_start(tmp_path, extension, share):
    path = tmp_path / f"cut.{extension}"
    big_picture(path)
    assert image_files.check_image(path) == (64, 64)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(image_files.BadImage, match="truncated|not a JPEG|cannot be decoded"):
        image_files.check_image(path)


@pytest.mark.parametrize("extension", ["jpg", "png", "gif", "webp"])
def test_whole_pictures_with_something_appended_are_kept(tmp_path, extension):
    path = tmp_path / f"more.{extension}"
    big_picture(path)
    path.write_bytes(path.read_bytes() + b"a film of three seconds " * 50)
    assert image_files.check_image(path) == (64, 64)


def test_every_kind_of_bad_file_is_skipped_with_its_reason(twenty, monkeypatch):
    (twenty / "b_empty.jpg").write_bytes(b"")
    (twenty / "b_text.png").write_text("this is no picture")
    os.symlink(twenty / "nowhere.png", twenty / "b_link.png")
    os.mkfifo(twenty / "b_pipe.png")
    picture(0, (40, 40)).save(twenty / "b_bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)  # Pillow only warns here …
    source = folder_of(twenty, max_bad_share=0.3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # … and refuses here
    again = folder_of(twenty, max_bad_share=0.3)
    reasons = dict(source.skipped)
    assert reasons == {
        "b_bomb.png": "40 × 40 pixels are more than PIL.Image.MAX_IMAGE_PIXELS (1500)",
        "b_empty.jpg": "empty file",
        "b_link.png": "cannot be opened: No such file or directory",
        "b_pipe.png": "not a regular file",
        "b_text.png": "not a JPEG, PNG, GIF, BMP or WebP image",
    }
    assert "bomb" in dict(again.skipped)["b_bomb.png"] and len(again.skipped) == 5
    assert len(source) == 20 and source.names[0] == "00.png"


def test_too_many_bad_files_are_an_error_that_names_them(twenty):
    for name in ["03.png", "07.png"]:
        (twenty / name).write_bytes(b"")
    message = (
        r"2 of 20 image files in .* \(10.0%\) cannot be read, max_bad_share permits 5.0%. "
        r"The first: 03.png \(empty file\); 07.png \(empty file\).*max_bad_share=0.1\)"
    )
    with pytest.raises(ValueError, match=message):
        folder_of(twenty)
    assert len(folder_of(twenty, max_bad_share=0.1)) == 18


def test_a_folder_of_bad_files_alone_is_always_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="1 of 1 image files .* None is left"):
        folder_of(tmp_path, max_bad_share=1.0)


def test_what_fails_later_is_replaced_by_the_next_and_listed_once(twenty):
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
    message = r"2 of 20 image files .*max_bad_share permits 5.0%.*load\('folder:.*max_bad_share=0.1"
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


def test_images_are_read_when_needed_and_not_kept(twenty):
    source = folder_of(twenty)
    before = source.images([0])
    shutil.copy(twenty / "09.png", twenty / "00.png")
    assert before[0, 0, 0, 0] == 0 and source.images([0])[0, 0, 0, 0] == 9
