"""From a folder of images to a served encoder, without the modules that Windows lacks."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

IMITATION = """
    import sys
    import errno, fcntl, os, signal
    import keras, tensorflow as tf, urllib3

    for module in ("fcntl", "grp", "pwd", "resource", "termios"):
        sys.modules[module] = None
    for name in dir(os):
        if name in ("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC"):
            delattr(os, name)
    for name in ("fork", "getuid", "geteuid", "getgid", "getppid", "fchmod", "fchown", "chown",
                 "mkfifo", "sched_getaffinity", "sysconf", "statvfs", "uname", "killpg"):
        if hasattr(os, name):
            delattr(os, name)
    for name in ("SIGKILL", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGQUIT", "alarm", "setitimer"):
        delattr(signal, name)

    def is_here(path):
        path = f"/proc/self/fd/{path}" if isinstance(path, int) else path
        return os.path.realpath(path).startswith(os.path.realpath(sys.argv[1]))

    def is_open(path):
        path = os.path.realpath(path)
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                if os.readlink(f"/proc/self/fd/{descriptor}") == path:
                    return True
            except OSError:
                pass
        return False

    def refusing(function, condition, number):
        def patched(path, *more, **options):
            by_rmtree = "dir_fd" in options
            if not by_rmtree and is_here(path) and condition(path, *more):
                raise OSError(number, "as on Windows", str(path))
            return function(path, *more, **options)
        return patched

    # No folder is opened, what is only read is not flushed, what is open is not moved or removed.
    os.open = refusing(os.open, lambda path, *_: os.path.isdir(path), errno.EACCES)
    get_flags = fcntl.fcntl
    os.fsync = refusing(
        os.fsync, lambda d: get_flags(d, fcntl.F_GETFL) & 3 == os.O_RDONLY, errno.EBADF
    )
    os.replace = refusing(os.replace, lambda a, b: is_open(a) or is_open(b), errno.EACCES)
    os.unlink = refusing(os.unlink, lambda path: is_open(path), errno.EACCES)
"""
WAY = """
    import functools, http.server, json, pathlib, threading
    import cl_keras as cl
    from cl_keras import locks

    folder = pathlib.Path(sys.argv[1])
    assert locks.fcntl is None
    run = cl.pretrain(
        f"folder:{folder / 'photos'}", folder / "run", method="simclr", encoder="small_resnet",
        image_size=16, channels=1, batch_size=8, epochs=1, optimizer="adamw", init="none",
    )
    encoder = run.load_encoder()
    path = cl.export.saved_model(encoder, folder / "export")
    served = tf.saved_model.load(str(path)).signatures["serve_bytes"]
    photo = next((folder / "photos").iterdir()).read_bytes()
    assert served(bytes=tf.constant([photo]))["error"].numpy() == [b""]

    # From an entry that must be downloaded, twice: the second time it is in the cache.
    name = "simclr_small_resnet_fashion_mnist"
    zoo = pathlib.Path("zoo").absolute()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(zoo))
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    card = json.loads((zoo / name / "card.json").read_text()) | {"name": name + "_x", "tag": "x"}
    base = f"http://127.0.0.1:{server.server_address[1]}"
    (zoo_file := folder / "catalog.json").write_text(
        json.dumps({"schema": 1, "base": base, "entries": [card]})
    )
    handler.func.translate_path = lambda self, path: str(
        zoo / path.lstrip("/").replace("_x/", "/")
    )
    os.environ |= {"CL_KERAS_ZOO": str(zoo_file), "CL_KERAS_CACHE": str(folder / "cache")}
    for _ in range(2):
        cl.zoo.load(name + "_x", progress=False)
    print("all is well")
"""


@pytest.mark.slow
def test_windows_trains_and_serves_an_encoder(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, [16, 16, 16], "uint8")):
        Image.fromarray(pixels).save(photos / f"{i}.png")
    script = textwrap.dedent(IMITATION) + textwrap.dedent(WAY)
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("all is well\n"), done.stderr
