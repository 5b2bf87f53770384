"""Serves a local page to browse embedded images."""

from cl_keras import data
from cl_keras.cli import trained
from cl_keras.cli.commands import Explore
from cl_keras.explore import Collection, make_server


def main(flags: Explore) -> None:
    """Encodes the images and serves the page until ctrl-C."""
    encoder = trained.load_encoder(flags)
    source = data.load(trained.data_spec(flags), **trained.image_options(encoder))
    collection = Collection(encoder, source)
    server, address = make_server(collection, port=flags.port, title=source.name)
    print(f"{len(collection):,} images on {address}\nPress ctrl-C to stop.", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("Stopped.")
    finally:
        server.server_close()
