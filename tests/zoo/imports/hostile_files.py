"""Files that pretend to be checkpoints: attacks, damage and nonsense.

`FILES` has a name and a function from a path, where the file is written, for each. What is run by
any of them would make the file `CANARY` in the working folder.
"""

import pickle
import stat
import struct
import zipfile

import numpy as np

from tests.zoo.imports import torch_writer as writer
from tests.zoo.imports.torch_writer import Raw, View, call, name

CANARY = "canary"
COMMAND = f"touch {CANARY}"
PYTHON = f"__import__('pathlib').Path({CANARY!r}).touch()"
WEIGHT = np.ones([2, 3, 7, 7], "<f4")
GOOD = {"conv1.weight": WEIGHT}


class Attack:
    """An object that `pickle` writes as a call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def attacks():
    """Ways to run code with the opcodes of pickles."""
    text, system = writer.text(COMMAND), name("os", "system")
    attribute = name("builtins", "getattr")
    imported = call(name("builtins", "__import__"), "os").code
    yield "os_system", call(system, COMMAND)
    yield "posix_system", call(name("posix", "system"), COMMAND)
    yield "nt_system", call(name("nt", "system"), COMMAND)
    yield "eval", call(name("builtins", "eval"), PYTHON)
    yield "exec", call(name("builtins", "exec"), PYTHON)
    yield "eval_of_python_2", call(name("__builtin__", "eval"), PYTHON)
    yield "open", call(name("builtins", "open"), CANARY, "w")
    yield "io_open", call(name("io", "open"), CANARY, "w")
    yield "subprocess", call(name("subprocess", "check_output"), ["touch", CANARY])
    yield "getattr", Raw(call(attribute, Raw(imported), "system").code + b"(" + text + b"tR")
    yield "attribute_by_dots", call(name("collections", "OrderedDict.__init__.__globals__"))
    yield "torch_load", call(name("torch", "load"), CANARY)
    yield "torch_rebuild_other", call(name("torch._utils", "_rebuild_wrapper_subclass"), 1)
    yield "numpy_load", call(name("numpy", "load"), CANARY)
    yield "runpy", call(name("runpy", "run_path"), CANARY)
    yield "pty_spawn", call(name("pty", "spawn"), COMMAND)
    yield "reconstruct", call(name("copyreg", "_reconstructor"), 1, 2, None)
    yield "inst", Raw(b"(" + text + b"ios\nsystem\n")
    yield "obj", Raw(b"(" + system + text + b"o")
    yield "newobj", Raw(name("subprocess", "Popen") + text + b"\x85\x81")
    yield "newobj_of_allowed", Raw(name("collections", "OrderedDict") + b")\x81")
    yield "newobj_ex", Raw(name("subprocess", "Popen") + text + b"\x85}\x92")
    yield "stack_global", Raw(b"\x8c\x02os\x8c\x06system\x93" + text + b"\x85R")
    yield "ext1", Raw(b"\x82\x01")
    yield "ext4", Raw(b"\x84\x01\x00\x00\x00")
    yield "build_on_allowed", Raw(name("torch", "FloatStorage") + b"}b")
    yield "build_on_builder", Raw(name("collections", "OrderedDict") + b"}b")
    yield "call_a_storage_type", call(name("torch", "FloatStorage"), 5)
    yield "call_a_text", Raw(text + b")R")
    yield "persistent_text", Raw(b"Pstorage\n")
    yield "persistent_other", Raw(writer.Pickle().code(("code", COMMAND)) + b"Q")
    yield "persistent_number", Raw(b"K\x07Q")
    yield "persistent_empty", Raw(b")Q")
    yield "persistent_short", Raw(writer.Pickle().code(("storage", "0")) + b"Q")
    yield "persistent_module_of_text", Raw(writer.Pickle().code(("module", "os")) + b"Q")
    yield "parameter_of_text", call(name("torch._utils", "_rebuild_parameter"), "a", True, None)
    yield "tensor_of_text", call(name("torch._utils", "_rebuild_tensor_v2"), "a", 0, (1,), (1,))
    yield "tensor_of_nothing", call(name("torch._utils", "_rebuild_tensor_v2"))


def _in_both_forms(case):
    """A value, as the whole checkpoint in the newer form, and beside weights in the older."""
    yield lambda path: writer.write_zip(path, case)
    yield lambda path: writer.write_old(path, {"args": case, **GOOD})


def _views():
    numbers = np.arange(6, dtype="<f4")
    yield "stride_below_0", View(numbers, 5, (6,), (-1,))
    yield "offset_below_0", View(numbers, -1, (1,), (1,))
    yield "offset_beyond", View(numbers, 6, (1,), (1,))
    yield "shape_beyond", View(numbers, 0, (7,), (1,))
    yield "shape_huge", View(numbers, 0, (2**40, 2**40), (0, 0))
    yield "shape_below_0", View(numbers, 0, (-6,), (1,))
    yield "shape_of_floats", View(numbers, 0, (6.0,), (1,))
    yield "shape_of_text", View(numbers, 0, "6", (1,))
    yield "shape_enormous", View(numbers, 0, (10**30,), (0,))
    yield "dimensions", View(numbers, 0, (1,) * 1000, (1,) * 1000)
    yield "strides_missing", View(numbers, 0, (2, 3), (1,))
    yield "count_below_0", View(numbers, 0, (6,), (1,), count=-6)
    yield "count_of_text", View(numbers, 0, (6,), (1,), count="6")
    yield "count_huge", View(numbers, 0, (6,), (1,), count=2**60)
    yield "count_too_large", View(numbers, 0, (2,), (1,), count=12)
    yield "count_too_small", View(numbers, 0, (2,), (1,), count=3)
    yield "type_unknown", View(numbers, 0, (6,), (1,), type="QuantizedStorage")
    yield "type_wider", View(numbers, 0, (2,), (1,), type="DoubleStorage")
    yield "key_up", View(numbers, 0, (6,), (1,), key="../data.pkl")
    yield "key_of_number", View(numbers, 0, (6,), (1,), key=0)


def _weights_of(view):
    """A checkpoint of a whole ResNet-18 of 2 channels, of which one weight is this view."""
    state = small_state()
    [key] = [key for key, array in state.items() if key == "layer1.0.bn1.bias"]
    return {**state, key: view}


def small_state(width=2):
    """A ResNet-18 of few channels with torchvision's names."""
    rng, state, channels = np.random.default_rng(0), {}, width

    def add(conv, norm, outputs, inputs, kernel):
        shape = [outputs, inputs, kernel, kernel]
        state[f"{conv}.weight"] = rng.normal(0, 0.3, shape).astype("<f4")
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{part}"] = rng.uniform(0.5, 1.5, outputs).astype("<f4")
        state[f"{norm}.num_batches_tracked"] = np.array(3, "<i8")

    add("conv1", "bn1", width, 3, 7)
    for stage in range(4):
        outputs = width * 2**stage
        for block in range(2):
            place = f"layer{stage + 1}.{block}"
            add(f"{place}.conv1", f"{place}.bn1", outputs, channels, 3)
            add(f"{place}.conv2", f"{place}.bn2", outputs, outputs, 3)
            if channels != outputs:
                add(f"{place}.downsample.0", f"{place}.downsample.1", outputs, channels, 1)
            channels = outputs
    return state


def _archives():
    """Archives that torch.save would not write."""

    def changed(change):
        return lambda path: writer.write_zip(path, small_state(), change=change)

    def info(member, **fields):
        found = zipfile.ZipInfo(member)
        for field, value in fields.items():
            setattr(found, field, value)
        return found

    link = info("archive/data/0", external_attr=(stat.S_IFLNK | 0o777) << 16)
    bomb = info("archive/data/0", compress_type=zipfile.ZIP_DEFLATED)
    big = info("archive/data.pkl", compress_type=zipfile.ZIP_DEFLATED)
    yield "zip_up", changed(lambda members: [*members, ("archive/../../canary", b"x")])
    yield "zip_absolute", changed(lambda members: [*members, ("/canary", b"x")])
    yield "zip_of_windows", changed(lambda members: [*members, ("archive\\..\\canary", b"x")])
    yield "zip_without_folder", changed(lambda members: [*members, ("canary", b"x")])
    yield "zip_two_folders", changed(lambda members: [*members, ("other/data.pkl", b"x")])
    yield "zip_folder_member", changed(lambda members: [*members, ("archive/data/", b"")])
    yield "zip_link", changed(lambda members: [m for m in members if m[0] != link.filename]
                              + [(link, b"/etc/passwd")])  # fmt: skip
    yield "zip_bomb", changed(lambda members: [m for m in members if m[0] != bomb.filename]
                              + [(bomb, bytes(100 * 2**20))])  # fmt: skip
    yield "zip_bomb_of_pickle", changed(lambda members: [*members[1:], (big, bytes(100 * 2**20))])
    yield "zip_pickle_missing", changed(lambda members: members[1:])
    yield "zip_numbers_missing", changed(lambda members: members[:2] + members[3:])
    yield (
        "zip_numbers_short",
        changed(lambda members: [*members[:2], (members[2][0], b"1234"), *members[3:]]),
    )
    yield (
        "zip_numbers_long",
        changed(lambda members: [*members[:2], (members[2][0], members[2][1] * 2), *members[3:]]),
    )
    yield (
        "zip_big_endian",
        changed(lambda members: [members[0], ("archive/byteorder", b"big"), *members[2:]]),
    )
    yield (
        "zip_many_members",
        changed(lambda members: [*members, *[(f"archive/extra/{i}", b"") for i in range(20_001)]]),
    )
    yield "zip_empty", lambda path: zipfile.ZipFile(path, "w").close()
    yield "zip_of_text", lambda path: writer.write_zip(path, pickle=b"<html>404</html>")


def _twice(path):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer.write_zip(path, small_state(), change=lambda members: [*members, members[0]])


def _flipped(path):
    """One bit of the numbers is flipped, which the archive's checksum reveals."""
    writer.write_zip(path, small_state())
    data = bytearray(path.read_bytes())
    data[data.index(small_state()["conv1.weight"].tobytes()) + 10] ^= 4
    path.write_bytes(bytes(data))


def _patched(signature, place, data):
    """An archive in whose first header of a kind some bytes are others."""

    def make(path):
        writer.write_zip(path, small_state())
        content = bytearray(path.read_bytes())
        start = content.index(signature) + place
        content[start : start + len(data)] = data
        path.write_bytes(bytes(content))

    return make


def _cut(write, share):
    def make(path):
        write(path, small_state())
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return make


def _old_files():
    def changed(place, data):
        def change(parts):
            return [data if i == place else part for i, part in enumerate(parts)]

        return lambda path: writer.write_old(path, small_state(), change=change)

    dump = writer.Pickle().dump
    big_endian = {"protocol_version": 1001, "little_endian": False}
    tower = b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b"."
    yield "old_other_magic", changed(0, dump(12345))
    yield "old_tower_for_magic", changed(0, tower)
    yield "old_other_protocol", changed(1, dump(1002))
    yield "old_tower_for_protocol", changed(1, tower)
    yield "old_big_endian", changed(2, dump(big_endian))
    yield "old_system_of_text", changed(2, dump("little"))
    yield "old_keys_missing", changed(4, dump(["0"]))
    yield "old_keys_of_numbers", changed(4, dump([0]))
    yield "old_tower_for_keys", changed(4, tower)
    yield "old_count_wrong", changed(5, struct.pack("<q", 7) + bytes(28))
    yield "old_count_below_0", changed(5, struct.pack("<q", -1))
    yield "old_attack_for_magic", changed(0, dump(call(name("os", "system"), COMMAND)))
    yield "old_attack_for_keys", changed(4, dump(call(name("os", "system"), COMMAND)))


def _values():
    """Readable files without the weights of an encoder."""
    yield "value_none", None
    yield "value_number", 5
    yield "value_text", "conv1.weight"
    yield "value_list", [1, 2]
    yield "value_empty", {}
    yield "value_tensor", WEIGHT
    yield "value_tower", Raw(b"]" * 20_000 + b"a" * 19_999)
    yield "value_within_itself", Raw(b"}q\x00" + writer.text("state_dict") + b"h\x00s")
    yield "value_list_within_itself", Raw(b"]q\x00h\x00a")
    yield "state_of_text", {"conv1.weight": "weights"}
    yield "state_with_number_for_key", {**GOOD, 5: WEIGHT}
    yield "state_with_huge_key", {**GOOD, "k" * 500_000: WEIGHT}
    yield "state_with_object", {**GOOD, "bn1.weight": call(name("argparse", "Namespace"))}
    yield "network_too_wide", {**small_state(), "conv1.weight": np.ones([321, 3, 7, 7], "<f4")}
    yield "network_of_nothing", {**small_state(), "conv1.weight": np.ones([0, 3, 7, 7], "<f4")}
    yield "kernel_without_axes", {**small_state(), "conv1.weight": np.array(1, "<f4")}
    yield "numbers_shared", _shared()
    yield "numbers_not_finite", {**small_state(), "bn1.bias": np.array([1, np.nan], "<f4")}
    yield "numbers_infinite", {**small_state(), "bn1.bias": np.array([1, np.inf], "<f4")}
    yield "numbers_beyond_float32", {**small_state(), "bn1.bias": np.array([1, 1e300], "<f8")}
    yield "numbers_whole", {**small_state(), "bn1.bias": np.array([1, 2], "<i4")}
    yield "variance_below_0", {**small_state(), "bn1.running_var": np.array([1, -1], "<f4")}


def _shared():
    """A wide network made from one small storage."""
    ones = np.ones(512 * 512 * 9, "<f4")
    state = {}
    for key, array in small_state(64).items():
        steps = tuple(int(s) // array.itemsize for s in array.strides)
        state[key] = array if array.dtype == "<i8" else View(ones, 0, array.shape, steps, key="999")
    return state


def _plain_files():
    yield "empty", b""
    yield "one_byte", b"\x80"
    yield "zip_head_alone", b"PK\x03\x04"
    yield "html", b"<!DOCTYPE html><title>Not Found</title>"
    yield "npz_like_text", b"PK not an archive at all"
    yield "noise", np.random.default_rng(0).bytes(4096)
    yield "zeros", bytes(4096)
    yield "tar", b"storages\x00" + bytes(503)
    yield "hdf5", b"\x89HDF\r\n\x1a\n" + bytes(64)
    yield "plain_pickle", pickle.dumps({"conv1.weight": [1.0]}, 2)
    yield "plain_attack", pickle.dumps(Attack(eval, (PYTHON,)), 2)
    yield "plain_attack_4", pickle.dumps(Attack(exec, (PYTHON,)), 4)
    yield "attack_of_protocol_0", pickle.dumps(Attack(eval, (PYTHON,)), 0)


def _all():
    for case, value in attacks():
        for form, write in zip(("zip", "old"), _in_both_forms(value), strict=True):
            yield f"{case}_{form}", write
    for case, view in _views():
        if not case.startswith("key_of"):
            yield f"{case}_zip", lambda path, v=view: writer.write_zip(path, _weights_of(v))
        yield f"{case}_old", lambda path, v=view: writer.write_old(path, _weights_of(v))
    for case, value in _values():
        yield case, lambda path, v=value: writer.write_zip(path, v)
    for case, data in _plain_files():
        yield case, lambda path, d=data: path.write_bytes(d)
    for share in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.999):
        yield f"zip_cut_at_{share}", _cut(writer.write_zip, share)
        yield f"old_cut_at_{share}", _cut(writer.write_old, share)
    yield from _archives()
    yield from _old_files()
    yield "zip_twice", _twice
    yield "zip_flipped", _flipped
    yield "zip_other_name_inside", _patched(b"PK\x03\x04", 30, b"another")
    yield "zip_encrypted", _patched(b"PK\x01\x02", 8, b"\x01\x00")
    yield "zip_offset_beyond", _patched(b"PK\x01\x02", 42, b"\xff\xff\xff\x7f")
    yield "zip_size_beyond", _patched(b"PK\x01\x02", 20, b"\xff\xff\xff\x01" * 2)


FILES = dict(_all())
