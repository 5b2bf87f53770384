import pytest

from cl_keras.zoo.cards import addresses

GOOD = [
    "https://example.org/a/b.npz",
    "https://example.org:8443/a?b=c",
    "http://localhost:80/a",
    "http://127.0.0.1:1234/a",
    "http://[::1]:1234/a",
    "hf://owner/repository/a/b.npz",
    "hf://owner/repository@v1.0/b.npz",
    "file:///folder/a.npz",
    "file://localhost/folder/a.npz",
]

HOSTILE = [
    *("", "a", "/etc/passwd", "://", "https://", "https:///a", "ftp://example.org/a", "data:,a"),
    *("javascript://a", "gopher://a/b", "FILE:///etc/passwd", "https://exa mple.org/a"),
    *("https://example.org/a\n", "https://example.org/\x00", "https://example.org\\@evil/a"),
    *("https://user:word@example.org/a", "https://user@example.org/a", "https://[::1/a"),
    *("https://example.org:99999/a", "https://example.org:a/b", "http://example.org/a"),
    *("http://127.0.0.1.example.org/a", "http://127.0.0.1@example.org/a", "http://0.0.0.0/a"),
    *("file://", "file://relative/a", "file://example.org/a", "file:///%00", "hf://", "hf://a"),
    *("hf://a/b", "hf://a/b/", "hf://a/b/../c", "hf://a/../c", "hf://../b/c", "hf://a/b//c"),
    *("hf://a/b@/c", "hf://a/b/.c", "https://example.org/ü", "https://" + "a" * 5000),
]


@pytest.mark.parametrize("address", GOOD)
def test_addresses_in_catalogs_of_this_machine(address):
    addresses.check(address)


@pytest.mark.parametrize("address", HOSTILE)
def test_invalid_and_unencrypted_addresses_are_refused(address):
    with pytest.raises(ValueError, match="received|address"):
        addresses.check(address)


@pytest.mark.parametrize("referrer", ["https://example.org/catalog.json", "hf://a/b/c.json"])
@pytest.mark.parametrize("address", [address for address in GOOD if "example" not in address])
def test_from_elsewhere_nothing_on_this_machine_can_be_named(referrer, address):
    if address.startswith("hf://"):
        addresses.check(address, referrer=referrer)
        return
    with pytest.raises(ValueError, match="may not"):
        addresses.check(address, referrer=referrer)


def test_a_server_on_this_machine_can_name_itself_and_no_files():
    here = "http://localhost:80/catalog.json"
    addresses.check("http://localhost:80/a", referrer=here)
    with pytest.raises(ValueError, match="is a file on this machine"):
        addresses.check("file:///etc/passwd", referrer=here)


INSIDE = [
    *("127.1", "127.0.1", "0x7f000001", "0x7f.1", "2130706433", "017700000001", "localhost."),
    *("LOCALHOST", "a.localhost", "127.0.0.1.", "127.255.0.3", "[::1]", "[::ffff:127.0.0.1]"),
    *("[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "[::]", "0.0.0.0", "0", "169.254.169.254"),
    *("[fe80::1]", "[fe80::1%25eth0]", "[fd00:ec2::254]", "10.0.0.1", "192.168.1.1", "172.16.0.1"),
    *("[::ffff:169.254.169.254]", "[2002:7f00:1::]", "224.0.0.1", "100.64.0.1"),
]


@pytest.mark.parametrize("host", INSIDE)
def test_addresses_inside_are_refused_from_elsewhere_in_every_spelling(host):
    for referrer in ("https://example.org/catalog.json", "hf://a/b/c.json"):
        with pytest.raises(ValueError, match="may not|must have a host"):
            addresses.check(f"https://{host}/a", referrer=referrer)


@pytest.mark.parametrize("host", ["8.8.8.8", "[2606:4700::1111]", "a.org.", "127.a.org"])
def test_addresses_outside_are_not(host):
    addresses.check(f"https://{host}/a", referrer="https://example.org/catalog.json")


@pytest.mark.parametrize(
    "address",
    [
        "https://user:hidden@example.org/a",
        "https://user:hid/hidden@example.org/a",
        "https://us er:hidden@example.org/a",
        "ftp://user:hidden@example.org/a",
        "hf://user:hidden@a/b",
        "file://user:hidden@host/a",
        "https://example.org:a/b?password=hidden",
        "https://user:hidden@@example.org/a",
        "https://user:hidden@[::1/a",
    ],
)
def test_passwords_are_never_shown(address):
    with pytest.raises(ValueError) as error:
        addresses.check(address)
    assert "hidden" not in str(error.value) and "hidden" not in addresses.shown(address)


def test_an_address_of_the_hub_has_three_parts():
    assert addresses.parse_hub("hf://o/r/a/b.npz") == ("o/r", None, "a/b.npz")
    assert addresses.parse_hub("hf://o/r@v1/b.npz") == ("o/r", "v1", "b.npz")


def test_the_last_segment_is_that_of_the_path():
    assert addresses.last_segment("https://example.org/a/b.pth?c=d/e#f") == "b.pth"
