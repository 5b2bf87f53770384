"""The Hugging Face Hub: where its files lie, and uploads by `huggingface_hub` (the extra `hf`)."""

import os
import pathlib
import urllib.parse

from cl_keras.zoo.cards import addresses


def web_address(address: str) -> str:
    """Where `hf://owner/repository[@revision]/path` is downloaded from."""
    repository, revision, path = addresses.parse_hub(address)
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return f"{endpoint}/{repository}/resolve/{revision or 'main'}/{urllib.parse.quote(path)}"


def upload(folder: pathlib.Path, address: str, name: str) -> None:
    """Uploads the folder of an entry to the folder `name` in `hf://owner/repository[/folder]`.

    Raises:
        ImportError: if `huggingface_hub` is not installed.
        OSError: if it cannot be uploaded.
        ValueError: if the address is not one of the Hub.
    """
    repository, revision, path = addresses.parse_hub(f"{address.rstrip('/')}/{name}")
    try:
        import huggingface_hub
    except ImportError:
        raise ImportError(
            "Uploading to hf:// needs the package huggingface_hub: pip install 'cl-keras[hf]'."
        ) from None
    try:
        huggingface_hub.HfApi().upload_folder(
            folder_path=str(folder),
            repo_id=repository,
            path_in_repo=path,
            revision=revision,
            commit_message=f"Publish {name}",
        )
    except Exception as error:  # its errors differ from version to version, and few are OSErrors
        raise OSError(f"{name} could not be uploaded to {address}: {error}") from error
