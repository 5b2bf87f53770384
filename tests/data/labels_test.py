"""Labels from arrays and tables; those from class folders are tested with folders."""

import numpy as np
import pytest

from cl_keras.data import load
from cl_keras.data.labels import as_labels, from_class_folders, from_table, renumber


def test_a_column_of_labels_is_taken_as_it_is():
    column = np.array([[3], [8], [0]], "uint8")
    assert as_labels(column, 3, "images").tolist() == [3, 8, 0]
    assert as_labels([7, -1, 20240101], 3, "images").dtype == np.int64


@pytest.mark.parametrize(
    "labels",
    [["cat", "dog", "cat"], np.array([1.0, 0.0, 2.0]), np.array([True, False, True])],
)
def test_the_advice_makes_the_right_labels(labels):
    with pytest.raises(ValueError) as error:
        as_labels(labels, 3, "images")
    call = str(error.value).rpartition(": ")[2].rstrip(".")
    made = eval(call, {"numpy": np, "labels": labels})
    made = as_labels(made, 3, "images")
    assert all((made[i] == made[j]) == (labels[i] == labels[j]) for i in range(3) for j in range(3))


def test_one_hot_labels_get_the_advice_for_them_and_others_do_not():
    with pytest.raises(ValueError, match=r"argmax\(axis=1\)"):
        as_labels(np.eye(3), 3, "images")
    for other in (np.zeros([3, 2]), np.array([0.5, 1.0, 2.0])):
        with pytest.raises(ValueError, match="one class number per image"):
            as_labels(other, 3, "images")


def test_minus_one_is_not_a_class():
    with pytest.raises(ValueError, match=r"-1 means an image without a label.*\(labels > 0\)"):
        as_labels([1, -1, 1], 3, "images")
    assert as_labels([1, -1, 0], 3, "images").tolist() == [1, -1, 0]


def test_labels_are_renumbered_by_name():
    labels, names = renumber(np.array([0, 1, -1, 1]), ["ant", "cat"], ["cat", "bee"])
    assert labels.tolist() == [2, 0, -1, 0] and names == ["cat", "bee", "ant"]


NAMES = ["a/1.png", "a/2.png", "b/1.png", "b/ö 3.png"]


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_labels_the_files_that_it_names(tmp_path, encoding):
    text = "label,note,file\ncat,x,a/2.png\n dog ,,./b/1.png\ncat,,ö 3.png\n,,a/1.png\n"
    labels, classes = from_table(write(tmp_path, text, encoding), NAMES)
    assert labels.tolist() == [-1, 0, 1, 0] and classes == ["cat", "dog"]


def test_numbers_are_sorted_as_numbers(tmp_path):
    labels, classes = from_table(write(tmp_path, "file,label\na/1.png,10\na/2.png,9\n"), NAMES)
    assert classes == ["9", "10"] and labels.tolist() == [1, 0, -1, -1]


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("", "must begin with the line 'file,label'"),
        ("name,class\na,b\n", "it begins with 'name,class'"),
        ("file,label\n", "holds no labels"),
        ("file,label\n1.png,x\n", "not among the 4 images.*such as '1.png'"),
        ("file,label\na/9.png,x\n", "such as 'a/9.png'"),
        ("file,label\na/1.png,x\na/1.png,y\n", "line 3: 'a/1.png' has the labels 'x' and 'y'"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, text, complaint):
    with pytest.raises(ValueError, match=complaint):
        from_table(write(tmp_path, text), NAMES)


def test_a_file_that_is_not_a_table_is_named(tmp_path):
    with pytest.raises(ValueError, match="not a CSV table in UTF-8"):
        from_table(write(tmp_path, "file,label\na.png,x\n", "utf-16"), ["a.png"])
    text = 'file,label\na.png,"x\nb.png,y\n'
    with pytest.raises(ValueError, match="a quotation mark is not closed"):
        from_table(write(tmp_path, text), ["a.png", "b.png"])


def test_labels_below_minus_one_and_classes_without_a_name_are_refused():
    with pytest.raises(ValueError, match="from 0 on, or -1 .*received -2"):
        as_labels([-2, 0, 1], 3, "images")
    images = np.zeros([3, 4, 4], "uint8")
    with pytest.raises(ValueError, match="has 2 names, and there is a label 2"):
        load(images, labels=[0, -1, 2], class_names=["a", "b"])
    with pytest.raises(ValueError, match="'a' is there twice"):
        load(images, labels=[0, -1, 1], class_names=["a", "a"])


def test_a_single_folder_above_the_classes_is_not_a_class(tmp_path):
    names = ["all/ant/0.png", "all/bee/0.png", "all/bee/sub/1.png"]
    labels, classes = from_class_folders(tmp_path, names)
    assert labels.tolist() == [0, 1, 1] and classes == ["ant", "bee"]
    for flat in (["all/0.png", "all/1.png"], ["all/0.png", "all/more/1.png"]):
        assert from_class_folders(tmp_path, flat) == (None, None)


def test_splits_of_a_data_set_are_not_classes(tmp_path):
    names = ["train/ant/0.png", "train/bee/0.png", "Test/ant/0.png"]
    with pytest.warns(UserWarning, match="Test, train are parts of a data set.*Load each"):
        assert from_class_folders(tmp_path, names) == (None, None)
