"""Makes an image folder of the emoji of two vendors, by category, split into train and test.

    npm pack emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0
    python tools/make_emoji.py --archives emoji-datasource-google-16.0.0.tgz \\
        emoji-datasource-twitter-16.0.0.tgz --out emoji

Writes emoji/train/CATEGORY/NAME.VENDOR.png and emoji/test/…, 64 pixels, on white. One emoji in five
is a test image, in all skin tones and by both vendors. With `--pairs` the names are
emoji/train/VENDOR/CATEGORY/NAME.png and so on, without skin tones, for `pairs:emoji/train`.

The artwork is Google's (Noto Emoji, Apache License 2.0) and Twitter's (Twemoji, CC BY 4.0),
collected in https://github.com/iamcal/emoji-data. The file CREDITS says so; keep it with the
pictures.
"""

import argparse
import hashlib
import io
import json
import pathlib
import tarfile

from PIL import Image
from tqdm import tqdm

CREDITS = """\
google: Noto Emoji, https://github.com/googlefonts/noto-emoji, Apache License 2.0
twitter: Twemoji, https://github.com/twitter/twemoji, Copyright Twitter, Inc, CC BY 4.0
Both from https://github.com/iamcal/emoji-data 16.0.0; laid on white, otherwise unchanged.
"""
TEST_SHARE = 5
"""One emoji in five is a test image."""


def main():
    arguments = parse()
    arguments.out.mkdir(parents=True)
    for archive in arguments.archives:
        vendor = archive.name.split("-")[2]
        files = contents(archive, ("package/emoji.json", f"package/img/{vendor}/64/"))
        for emoji in tqdm(json.loads(files["package/emoji.json"]), desc=vendor):
            for picture in pictures_of(emoji, vendor, skin_tones=not arguments.pairs):
                path = arguments.out / path_of(emoji, picture, vendor, arguments.pairs)
                path.parent.mkdir(parents=True, exist_ok=True)
                on_white(files[f"package/img/{vendor}/64/{picture}"]).save(path)
    (arguments.out / "CREDITS").write_text(CREDITS)


def contents(archive, wanted):
    """The wanted files by name, in one pass, since seeking back in a gzip file is slow."""
    with tarfile.open(archive) as files:
        return {
            member.name: files.extractfile(member).read()
            for member in files
            if member.isfile() and member.name.startswith(wanted)
        }


def pictures_of(emoji, vendor, skin_tones):
    """File names of an emoji and its skin tones, as far as the vendor has them."""
    every = [emoji, *(emoji.get("skin_variations", {}).values() if skin_tones else ())]
    return [one["image"] for one in every if one.get(f"has_img_{vendor}")]


def path_of(emoji, picture, vendor, pairs):
    """The path of a picture; the split depends only on the code of the emoji."""
    digest = hashlib.sha256(emoji["unified"].encode()).digest()
    split = "test" if digest[0] % TEST_SHARE == 0 else "train"
    category = emoji["category"].lower().replace(" & ", "_").replace(" ", "_")
    name = pathlib.PurePath(picture).stem
    if pairs:
        return pathlib.PurePath(split, vendor, category, f"{name}.png")
    return pathlib.PurePath(split, category, f"{name}.{vendor}.png")


def on_white(data):
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archives", type=pathlib.Path, nargs=2, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="a new folder")
    parser.add_argument("--pairs", action="store_true", help="make one folder per vendor")
    return parser.parse_args()


if __name__ == "__main__":
    main()
