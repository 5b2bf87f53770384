"""The explorer answers its own page, and nobody else."""

import http.client
import io
import json
import threading
import time
import urllib.parse

import keras
import numpy as np
import pytest
from PIL import Image

from cl_keras import data
from cl_keras.evaluation import neighbors
from cl_keras.explore import Collection, make_server


def _encoder():
    inputs = keras.Input([16, 16, 3])
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, pooled)


IMAGES = np.random.default_rng(0).integers(0, 256, (40, 1, 1, 3), np.uint8)
IMAGES = IMAGES.repeat(16, 1).repeat(16, 2)


@pytest.fixture(scope="module")
def served():
    images = IMAGES.copy()
    images[:, :8] //= 2  # some contrast, so that near-duplicates can be told
    images[7] = images[3]
    source = data.load(images, labels=np.arange(40) % 2, class_names=["<b>one", "two"])
    server, address = make_server(Collection(_encoder(), source, progress=False), title="<i>t")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    parts = urllib.parse.urlsplit(address)
    yield parts.port, dict(urllib.parse.parse_qsl(parts.query))["token"]
    server.shutdown()
    server.server_close()
    thread.join()


def _ask(served, path, host=None, token=None, body=None, **query):
    port, known = served
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    query = urllib.parse.urlencode({"token": known if token is None else token, **query})
    headers = {"Host": host or f"127.0.0.1:{port}"}
    connection.request("GET" if body is None else "POST", f"{path}?{query}", body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def test_the_page_and_its_policy(served):
    answer, content = _ask(served, "/")
    text, policy = content.decode(), answer.headers["Content-Security-Policy"]
    assert answer.status == 200 and "&lt;i&gt;t: 40 images" in text
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert f'<script nonce="{nonce}">' in text and "default-src 'none'" in policy
    assert "http:" not in text and "https:" not in text


def test_points_have_position_label_and_name(served):
    found = json.loads(_ask(served, "/points")[1])
    assert len(found["x"]) == len(found["name"]) == 40
    assert min(found["x"]) == 0 and max(found["y"]) == 1
    assert found["label"][:4] == [0, 1, 0, 1] and found["class_names"] == ["<b>one", "two"]


def test_pictures_are_requested_by_number(served):
    answer, content = _ask(served, "/picture", row=3)
    assert answer.headers["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(content)).size == (72, 72)
    for row in ("40", "-1", "x", "../../etc/passwd", "1" * 30, "²"):
        answer, _ = _ask(served, "/picture", row=row)
        assert answer.status == 400


def test_neighbors_of_a_point_and_of_a_file(served):
    found = json.loads(_ask(served, "/near", row=3)[1])
    assert {row for row, cosine in found[:2]} == {3, 7} and found[0][1] == pytest.approx(1)
    buffer = io.BytesIO()
    pixels = IMAGES[11].copy()
    pixels[:8] //= 2
    Image.fromarray(pixels).resize((50, 50)).save(buffer, "PNG")
    assert json.loads(_ask(served, "/near_file", body=buffer.getvalue())[1])[0][0] == 11
    answer, content = _ask(served, "/near_file", body=b"no image")
    assert answer.status == 400 and b"cannot be read as an image" in content


def test_outliers_pairs_and_what_to_label(served):
    pairs = json.loads(_ask(served, "/pairs")[1])
    assert [3, 7, 1.0] in pairs
    outliers = json.loads(_ask(served, "/outliers")[1])
    assert [d for _, d in outliers] == sorted((d for _, d in outliers), reverse=True)
    assert len({row for row, _ in json.loads(_ask(served, "/select", n=5)[1])}) == 5


@pytest.mark.parametrize("path", ["/", "/points", "/picture", "/near"])
def test_nothing_is_served_without_the_token_or_to_another_host(served, path):
    assert _ask(served, path, token="wrong")[0].status == 403
    assert _ask(served, path, token="")[0].status == 403
    assert _ask(served, path, host="evil.example")[0].status == 403
    assert _ask(served, path, host=f"evil.example:{served[0]}")[0].status == 403


@pytest.mark.parametrize(
    "path", ["/../cl_keras/version.py", "/etc/passwd", "//etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"]
)
def test_no_path_of_the_disk_is_served(served, path):
    assert _ask(served, path)[0].status == 404


def test_it_listens_only_on_the_loopback_interface():
    server, address = make_server(None)
    assert server.server_address[0] == "127.0.0.1" and address.startswith("http://127.0.0.1:")
    server.server_close()


def test_an_endless_upload_is_refused(served):
    port, token = served
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("POST", f"/near_file?token={token}")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    begin = time.monotonic()
    assert connection.getresponse().status == 400
    assert time.monotonic() - begin < 5
    connection.close()


def test_the_nearest_equal_those_of_the_general_search():
    """With ties: equal images come in the order of the bank."""
    images = IMAGES[[0, 1, 2, 3, 1, 2, 5, 1]]
    collection = Collection(_encoder(), data.load(images), progress=False)
    vectors = collection._found.vectors
    for row in range(len(images)):
        for k in (1, 2, 3, 8, 50):
            rows, cosines = neighbors(vectors, vectors[row : row + 1], min(k, 8))
            found = collection.near(row, k)
            assert [one for one, _ in found] == rows[0].tolist()
            np.testing.assert_allclose([c for _, c in found], cosines[0], atol=1e-4)
