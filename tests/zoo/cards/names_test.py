import pytest

from cl_keras.zoo.cards import names

GOOD = ["simclr_small_resnet_photos", "moco_v2_resnet50_imagenet_800ep", "a_b", "1_2"]

HOSTILE = [
    *("", "a", "_", "__", "a_", "_a", "a__b", "a_b_", "../a_b", "a_b/..", "a_b/c_d", "/etc_passwd"),
    *("a_b\\c_d", "a_b\n", "a_b\x00", "\x00a_b", "a_b.npz", "a_b c_d", " a_b", "~_a", "$HOME_a"),
    *("a_b;ls", "%2e%2e_a", "a_b?", "http://a_b", "ä_b", "a_\u0660", "ａ_b", "a_" + "b" * 120),
]


@pytest.mark.parametrize("name", GOOD)
def test_names_are_taken_in_any_case(name):
    assert names.check_name(name) == names.check_name(name.upper()) == name


@pytest.mark.parametrize("name", HOSTILE)
def test_invalid_names_are_refused(name):
    with pytest.raises(ValueError, match="<method>_<encoder>_<data>"):
        names.check_name(name)


@pytest.mark.parametrize("name", [None, 1, b"a_b", ["a_b"]])
def test_a_name_is_text(name):
    with pytest.raises(TypeError, match="received"):
        names.check_name(name)


@pytest.mark.parametrize("path", ["encoder.safetensors", "a/b-c.npz", "A_1/x.tar.gz"])
def test_paths_below_the_folder_are_taken(path):
    assert names.check_relative_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/etc/passwd", "..", "../a", "a/../b", "a/..", "./a", "a/.", "a//b", "a/", ".a"),
        *("a/.git", "a\\b", "C:\\a", "C:/a", "~/a", "a b", "a\n", "a\x00b", "a?b", "a%2fb", "ü"),
        "a/" * 200 + "a",
    ],
)
def test_a_path_that_could_lead_elsewhere_is_refused(path):
    with pytest.raises(ValueError, match="below the entry's folder"):
        names.check_relative_path(path)
