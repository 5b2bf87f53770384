"""The Hugging Face Hub, where `huggingface_hub` is installed (the extra `hf`)."""

import os
import pathlib
import tempfile

from cl_keras.zoo.cards import addresses


def download(address, path):
    """Downloads one file of a repository to `path`.

    Args:
        address: hf://owner/repository[@revision]/path.
        path: of the file; the caller checks it.

    Raises:
        ImportError: if `huggingface_hub` is not installed.
        OSError: if it cannot be had.
    """
    repository, revision, name = addresses.parse_hub(address)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="hub-") as folder:
        try:
            found = _hub().hf_hub_download(
                repo_id=repository, filename=name, revision=revision, local_dir=folder
            )
        except (OSError, ValueError) as error:
            raise OSError(f"{address} could not be downloaded: {error}") from error
        found = pathlib.Path(found)
        if found.is_symlink() or not found.is_file():
            raise OSError(f"{address} could not be downloaded: it is no plain file.")
        os.replace(found, path)


def upload(folder, address, name):
    """Uploads the folder of an entry below a repository or a folder in it.

    Args:
        folder: of the entry.
        address: hf://owner/repository, or hf://owner/repository/folder.
        name: of the entry, and of the folder that it becomes there.

    Raises:
        ImportError: if `huggingface_hub` is not installed.
        OSError: if it cannot be done.
        ValueError: if the address is none of the Hub.
    """
    repository, revision, path = addresses.parse_hub(f"{address.rstrip('/')}/{name}")
    try:
        _hub().HfApi().upload_folder(
            folder_path=str(folder),
            repo_id=repository,
            path_in_repo=path,
            revision=revision,
            commit_message=f"Publish {name}",
        )
    except (OSError, ValueError) as error:
        raise OSError(f"{name} could not be uploaded to {address}: {error}") from error


def _hub():
    try:
        import huggingface_hub
    except ImportError:
        raise ImportError(
            "hf:// addresses need the package huggingface_hub: pip install 'cl-keras[hf]'."
        ) from None
    return huggingface_hub
