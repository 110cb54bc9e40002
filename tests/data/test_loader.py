from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from convsmith.bundle.images.decode import read_image
from convsmith.bundle.preprocess import preprocess
from convsmith.data.augment.transform import train_transform
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.image_data import ImageData
from convsmith.data.index import Index
from convsmith.data.loading.loader import Batch, default_workers, raise_on_bad, train_loader, val_loader
from convsmith.data.loading.sampler import Position, StepSampler
from convsmith.data.read_image import TrainingImages, ValidationImages
from convsmith.data.split import Share
from convsmith.errors import ConvsmithError
from convsmith.randomness import Stream, counter_seed
from convsmith.recipe.augmentation import (
    Augment,
    ColorJitter,
    EfficientNetCrop,
    RandomCrop,
    RandomErasing,
    TimmRandAugment,
)
from convsmith.recipe.sampling import Balanced, Plain, RepeatedAugmentation, Sampling
from convsmith.spec import Preprocess
from tests.data.folders import path_of, write_noise

AUGMENT = Augment(random_crop=RandomCrop(size=8, padding=2), hflip=0.5)
EVERYTHING = Augment(
    efficientnet_crop=EfficientNetCrop(size=8),
    hflip=0.5,
    vflip=0.5,
    policy=TimmRandAugment(name="timm_rand_augment"),
    color_jitter=ColorJitter(brightness=0.4),
    lighting=0.1,
    random_erasing=RandomErasing(probability=0.5, value="noise"),
)
PREPROCESS = Preprocess(resize=8, crop=8)
PLAIN = Augment(random_crop=RandomCrop(size=8, padding=0))
SEED = 7
ALL = Plain()

# Three workers must give what one gives, however few cores the machine has.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ImageData:
    """18 training images of 10x8 pixels in two classes."""
    return open_image_folder(write_noise(tmp_path_factory.mktemp("noise"), 18), Share(0.5))


@pytest.fixture
def own_folder(tmp_path: Path) -> ImageData:
    """The same, to be damaged by the test."""
    return open_image_folder(write_noise(tmp_path, 6, size=(8, 8)), Share(0.5))


def sampler(index: Index, first: int = 0, last: int = 7, epoch: int = 3, sampling: Sampling = ALL) -> StepSampler:
    """Micro-batches of 3, two a step."""
    return StepSampler(
        index.targets,
        sampling,
        seed=SEED,
        effective_batch=6,
        per_device_batch=3,
        steps_per_epoch=epoch,
        first_step=first,
        last_step=last,
    )


def batches(
    index: Index,
    first: int = 0,
    workers: int = 0,
    augment: Augment = AUGMENT,
    attempts: int = 1,
    sampling: Sampling = ALL,
) -> list[Batch]:
    steps = sampler(index, first, sampling=sampling)
    return list(
        train_loader(
            index, TrainingImages(index, augment, PREPROCESS), steps, seed=SEED, attempts=attempts, workers=workers
        )
    )


def same(these: Iterable[Batch], those: Iterable[Batch]) -> bool:
    return all(
        torch.equal(a.images, b.images) and torch.equal(a.targets, b.targets) and a.bad == b.bad
        for a, b in zip(these, those, strict=True)
    )


def damage(index: Index, *files: int) -> list[str]:
    for i in files:
        path_of(index, i).write_bytes(b"no image")
    return [str(path_of(index, i)) for i in files]


def in_order(index: Index, attempts: int) -> Batch:
    """One batch of all training files in the order of the index, as they are."""

    class InOrder(StepSampler):
        def __iter__(self) -> Iterator[list[Position]]:
            yield sorted(next(super().__iter__()), key=lambda position: position.index)

    whole = InOrder(
        index.targets,
        ALL,
        seed=SEED,
        effective_batch=len(index),
        per_device_batch=len(index),
        steps_per_epoch=1,
        first_step=0,
        last_step=1,
    )
    (batch,) = train_loader(
        index, TrainingImages(index, PLAIN, PREPROCESS), whole, seed=SEED, attempts=attempts, workers=0
    )
    assert isinstance(batch, Batch)
    return batch


def pixels(index: Index, *files: int) -> torch.Tensor:
    return torch.stack([torch.from_numpy(read_image(path_of(index, i)).copy()).permute(2, 0, 1) for i in files])


# Training


def test_training_batches_are_uint8_images_and_int64_targets(folder: ImageData) -> None:
    first, *_ = batches(folder.train)
    assert (first.images.dtype, tuple(first.images.shape)) == (torch.uint8, (3, 3, 8, 8))
    assert (first.targets.dtype, tuple(first.targets.shape)) == (torch.int64, (3,))


@pytest.mark.parametrize("workers", [1, 3])
def test_training_batches_do_not_depend_on_the_workers(folder: ImageData, workers: int) -> None:
    assert same(batches(folder.train, workers=workers), batches(folder.train))


@pytest.mark.parametrize(
    "sampling",
    [RepeatedAugmentation(name="repeated"), Balanced(name="balanced"), Plain(fraction=0.5)],
    ids=["repeated", "balanced", "share"],
)
def test_every_kind_of_sampling_and_augmentation_goes_on_and_knows_no_workers(
    folder: ImageData, sampling: Sampling
) -> None:
    whole = batches(folder.train, augment=EVERYTHING, sampling=sampling)
    rest = batches(folder.train, 4, 3, EVERYTHING, sampling=sampling)
    assert same(whole[8:], rest)


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("first", [1, 3, 5])
def test_training_goes_on_from_any_step_with_the_same_batches(folder: ImageData, first: int, workers: int) -> None:
    assert same(batches(folder.train, first, workers), batches(folder.train)[2 * first :])


def test_a_sample_is_augmented_by_seed_epoch_and_position(folder: ImageData) -> None:
    transform = train_transform(AUGMENT, PREPROCESS)
    for positions, batch in zip(sampler(folder.train), batches(folder.train), strict=True):
        for (epoch, position, index), image, target in zip(positions, batch.images, batch.targets, strict=True):
            torch.default_generator.manual_seed(counter_seed(Stream.AUGMENT, SEED, epoch, position))
            assert torch.equal(transform(read_image(path_of(folder.train, index)).copy()), image)
            assert folder.train.target(index) == target


def test_every_epoch_augments_anew(folder: ImageData) -> None:
    epochs = [batches(folder.train)[first : first + 6] for first in (0, 6)]
    views = [{image.numpy().tobytes() for batch in epoch for image in batch.images} for epoch in epochs]
    assert len(views[0] & views[1]) < 6


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_leaves_the_default_generator_as_it_was(folder: ImageData, workers: int) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    batches(folder.train, workers=workers)
    assert torch.equal(torch.get_rng_state(), before)


# Bad files


def test_a_bad_file_is_left_out_and_named(own_folder: ImageData) -> None:
    train = own_folder.train
    (path,) = damage(train, 2)
    batch = in_order(train, 1)
    assert batch.targets.tolist() == [0, 0, 1, 1, 1]
    assert torch.equal(batch.images, pixels(train, 0, 1, 3, 4, 5))
    assert [(bad.path, "not an image" in bad.reason) for bad in batch.bad] == [(path, True)]


def test_skip_takes_the_next_file_that_can_be_decoded_with_its_target(own_folder: ImageData) -> None:
    train = own_folder.train
    paths = damage(train, 1, 2)
    batch = in_order(train, 20)
    assert batch.targets.tolist() == [0, 1, 1, 1, 1, 1]
    assert torch.equal(batch.images, pixels(train, 0, 3, 3, 3, 4, 5))
    assert [bad.path for bad in batch.bad] == [paths[0], paths[1], paths[1]]


def test_skip_goes_on_at_the_start_of_the_index(own_folder: ImageData) -> None:
    train = own_folder.train
    damage(train, 0, 5)
    assert torch.equal(in_order(train, 20).images[5], pixels(train, 1)[0])


def test_skip_without_any_good_file_names_them_all(own_folder: ImageData) -> None:
    train = own_folder.train
    paths = damage(train, *range(6))
    batch = in_order(train, 20)
    assert (len(batch.images), len(batch.targets)) == (0, 0)
    assert {bad.path for bad in batch.bad} == set(paths)


def test_skip_gives_up_after_more_than_one_percent_in_a_row(tmp_path: Path) -> None:
    train = open_image_folder(write_noise(tmp_path, 300, size=(8, 8)), Share(0.5)).train
    damage(train, *range(200))
    batch = in_order(train, 100)
    assert batch.targets.tolist() == [1] * 199
    assert len({bad.path for bad in batch.bad}) == 200


@pytest.mark.parametrize("workers", [1, 3])
def test_skipping_does_not_depend_on_the_workers(own_folder: ImageData, workers: int) -> None:
    damage(own_folder.train, 1, 2)
    assert same(batches(own_folder.train, workers=workers, attempts=4), batches(own_folder.train, attempts=4))


def test_a_vanished_file_is_a_bad_file(own_folder: ImageData) -> None:
    path_of(own_folder.train, 0).unlink()
    assert in_order(own_folder.train, 1).bad[0].reason == "no such file or directory"


def test_a_strip_too_long_to_resize_is_a_bad_file(own_folder: ImageData) -> None:
    Image.new("L", (1, 60_000)).save(path_of(own_folder.train, 0))
    crop = Augment(random_crop=RandomCrop(size=2048, padding=0))
    train = own_folder.train
    loader = train_loader(
        train, TrainingImages(train, crop, PREPROCESS), sampler(train, last=1), seed=SEED, attempts=1, workers=0
    )
    assert [bad.path for batch in loader for bad in batch.bad] == [str(path_of(own_folder.train, 0))]


def test_raise_on_bad_names_the_first_file_and_counts_each_once(own_folder: ImageData) -> None:
    paths = damage(own_folder.train, 1, 2)
    with pytest.raises(ConvsmithError) as caught:
        raise_on_bad(in_order(own_folder.train, 20))
    assert str(caught.value).startswith(f"cannot decode {paths[0]}, and 1 more of the same batch: it is not an image")


def test_raise_on_bad_lets_a_good_batch_pass(own_folder: ImageData) -> None:
    raise_on_bad(in_order(own_folder.train, 1))


@pytest.mark.parametrize("workers", [0, 1])
def test_the_channels_of_a_pixel_are_neighbours(folder: ImageData, workers: int) -> None:
    for augment in (AUGMENT, EVERYTHING):
        assert all(
            batch.images.is_contiguous(memory_format=torch.channels_last)
            for batch in batches(folder.train, workers=workers, augment=augment)
        )


# Validation


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_shows_each_file_once_in_order(folder: ImageData, workers: int) -> None:
    loader = val_loader(folder.train, ValidationImages(folder.train, PREPROCESS), 4, workers=workers)
    assert [len(batch.targets) for batch in loader] == [4, 4, 4, 4, 2]
    assert torch.cat([batch.targets for batch in loader]).tolist() == folder.train.targets.tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_images_are_those_of_the_one_preprocessing(folder: ImageData, workers: int) -> None:
    loader = val_loader(folder.train, ValidationImages(folder.train, PREPROCESS), 4, workers=workers)
    images = torch.cat([batch.images for batch in loader])
    for i, image in enumerate(images):
        assert (image.numpy() == preprocess(read_image(path_of(folder.train, i)), PREPROCESS)).all()


def test_a_bad_validation_file_is_left_out_and_named(own_folder: ImageData) -> None:
    (path,) = damage(own_folder.train, 1)
    (batch,) = val_loader(own_folder.train, ValidationImages(own_folder.train, PREPROCESS), 6, workers=0)
    assert torch.equal(batch.images, pixels(own_folder.train, 0, 2, 3, 4, 5))
    assert batch.targets.tolist() == [0, 0, 1, 1, 1]
    assert [bad.path for bad in batch.bad] == [path]
    assert batch.samples == 6


# Workers


@pytest.mark.parametrize(
    ("device", "cores", "devices", "workers"),
    [
        ("cpu", 1, 1, 1),
        ("cpu", 2, 1, 1),
        ("cpu", 32, 1, 4),
        ("cpu", 32, 4, 1),
        ("cpu", 256, 1, 8),
        ("cuda", 4, 1, 4),
        ("cuda", 64, 1, 8),
        ("cuda", 64, 16, 4),
        ("cuda", 4, 8, 1),
    ],
)
def test_default_workers_share_the_cores(device: str, cores: int, devices: int, workers: int) -> None:
    assert default_workers(device, cores, devices) == workers
