"""Where a run's images lie, and what keeps them there: runs whose student reads text alone have none and ask for none.

runs/x/corpus/images/ab/ab12....png       those of the corpus, kept as its rows are read
runs/x/evaluate/images/ab/ab12....png     those of benchmarks that are files of their own
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redistill.config.tables import ImageSettings, Recipe
from redistill.io.images import ImageLimits, ImageStore, image_folders, look_in, storing_images
from redistill.model.pictures import pictures_of

if TYPE_CHECKING:
    from redistill.pipeline.plan import Plan


def corpus_store(plan: "Plan", folder: Path) -> ImageStore | None:
    """Where the images of the corpus are kept; None where the student reads text alone."""
    return _store(plan, image_folders(folder)[0])


@contextmanager
def keeping_images(plan: "Plan", folder: Path) -> Iterator[None]:
    """Rows that are read meanwhile, of a corpus or a benchmark, keep their images in this folder, where the student reads them."""
    with keeping_images_of(plan.tokenizer, plan.recipe.corpus.images, folder):
        yield


@contextmanager
def keeping_images_of(tokenizer: Any, limits: ImageSettings, folder: Path) -> Iterator[None]:
    """The same for the student of this tokenizer."""
    store = ImageStore(folder, limits_of(limits)) if pictures_of(tokenizer) is not None else None
    if store is not None:
        look_in(folder)
    with storing_images(store):
        yield


def look_for_images(folder: Path) -> None:
    """Have students find the run's images."""
    look_in(*image_folders(folder))


def key_of_images(plan: "Plan") -> dict[str, Any]:
    """What the key of the corpus says of its images: nothing where none are kept."""
    return {"keeps_images": True} if pictures_of(plan.tokenizer) is not None else {}


def limits_of(settings: ImageSettings) -> ImageLimits:
    """The limits of one image, in bytes and pixels."""
    return ImageLimits(int(settings.max_megabytes * 2**20), int(settings.max_megapixels * 1e6))


def _store(plan: "Plan", folder: Path) -> ImageStore | None:
    recipe: Recipe = plan.recipe
    return None if pictures_of(plan.tokenizer) is None else ImageStore(folder, limits_of(recipe.corpus.images))
