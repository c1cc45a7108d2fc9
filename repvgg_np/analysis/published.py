"""The numbers that the paper prints (arXiv 2101.03697, tables 1 to 7), as data to compare with, slips included.

The GPU is a 1080Ti. Accuracies are top-1 on ImageNet, in percent. "FLOPs" are multiply-adds, in thousand millions. The
paper cuts its millions of parameters (and the FLOPs of table 1) off instead of rounding them, rounds the FLOPs and
Winograd multiplications of tables 4 and 5, and counts every network, also those that it compares with, after batch
norms have been folded into convolutions.

No published run of the ablations (tables 6 and 7) on CIFAR was found. What can be compared on another data set, with
another network, is the order of the rows.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRow:
    """One row of table 6 or 7: RepVGG-B0, 120 epochs, ImageNet.

    Attributes
    ----------
    variant : str
        The kind of block, by its name in `blocks.VARIANTS`.
    text : str
        What the paper calls the row.
    top_1 : float
        Accuracy in percent.
    images_per_second : int or None
        Of the unconverted network (table 6 only).
    """

    variant: str
    text: str
    top_1: float
    images_per_second: int | None = None


@dataclass(frozen=True)
class PublishedNetwork:
    """One row of table 4 or 5.

    Attributes
    ----------
    text : str
        What the paper calls it.
    model : str
        The same network, by its name here.
    top_1 : float
        Accuracy in percent.
    images_per_second : int
        With batch norms folded, batch 128, on the GPU.
    parameters, flops, winograd : str
        As printed: millions of parameters, thousand millions of FLOPs and of multiplications with Winograd.
    """

    text: str
    model: str
    top_1: float
    images_per_second: int
    parameters: str
    flops: str
    winograd: str


@dataclass(frozen=True)
class PublishedKernel:
    """One row of table 1: a convolution of 2048 channels on 56x56 pixels, batch 32.

    Attributes
    ----------
    size : int
        The kernel is so many pixels high and wide.
    flops : float
        Thousand million multiply-adds, which the paper calls "theoretical FLOPs".
    milliseconds : float
    tflops : float
        Million millions of operations a second, a multiply-add counted as two.
    """

    size: int
    flops: float
    milliseconds: float
    tflops: float


TABLE_1 = (
    PublishedKernel(1, 420.9, 84.5, 9.96),
    PublishedKernel(3, 3788.1, 198.8, 38.10),
    PublishedKernel(5, 10522.6, 2092.5, 10.57),
    PublishedKernel(7, 20624.4, 4394.3, 9.38),
)

# Of each stage: height and width of its output, layers of RepVGG-A and of RepVGG-B, what its width is a multiple of.
# The first stage has min(64, 64 a) channels, the last one 512 b, the others so many times a.
TABLE_2 = ((112, 1, 1, 64), (56, 2, 4, 64), (28, 4, 6, 128), (14, 14, 16, 256), (7, 1, 1, 512))

# The layers of each stage, and the multipliers a and b.
TABLE_3 = {
    "RepVGG-A0": ((1, 2, 4, 14, 1), 0.75, 2.5),
    "RepVGG-A1": ((1, 2, 4, 14, 1), 1, 2.5),
    "RepVGG-A2": ((1, 2, 4, 14, 1), 1.5, 2.75),
    "RepVGG-B0": ((1, 4, 6, 16, 1), 1, 2.5),
    "RepVGG-B1": ((1, 4, 6, 16, 1), 2, 4),
    "RepVGG-B2": ((1, 4, 6, 16, 1), 2.5, 5),
    "RepVGG-B3": ((1, 4, 6, 16, 1), 3, 5),
}

TABLE_4 = (
    PublishedNetwork("RepVGG-A0", "RepVGG-A0", 72.41, 3256, "8.30", "1.4", "0.7"),
    PublishedNetwork("ResNet-18", "ResNet-18", 71.16, 2442, "11.68", "1.8", "1.0"),
    PublishedNetwork("RepVGG-A1", "RepVGG-A1", 74.46, 2339, "12.78", "2.4", "1.3"),
    PublishedNetwork("RepVGG-B0", "RepVGG-B0", 75.14, 1817, "14.33", "3.1", "1.6"),
    PublishedNetwork("ResNet-34", "ResNet-34", 74.17, 1419, "21.78", "3.7", "1.8"),
    PublishedNetwork("RepVGG-A2", "RepVGG-A2", 76.48, 1322, "25.49", "5.1", "2.7"),
    PublishedNetwork("RepVGG-B1g4", "RepVGG-B1g4", 77.58, 868, "36.12", "7.3", "3.9"),
    PublishedNetwork("EfficientNet-B0", "EfficientNet-B0", 75.11, 829, "5.26", "0.4", "-"),
    PublishedNetwork("RepVGG-B1g2", "RepVGG-B1g2", 77.78, 792, "41.36", "8.8", "4.6"),
    PublishedNetwork("ResNet-50", "ResNet-50-v1", 76.31, 719, "25.53", "3.9", "2.8"),
    PublishedNetwork("RepVGG-B1", "RepVGG-B1", 78.37, 685, "51.82", "11.8", "5.9"),
    PublishedNetwork("RegNetX-3.2GF", "RegNetX-3.2GF", 77.98, 671, "15.26", "3.2", "2.9"),
    PublishedNetwork("RepVGG-B2g4", "RepVGG-B2g4", 78.50, 581, "55.77", "11.3", "6.0"),
    PublishedNetwork("ResNeXt-50", "ResNeXt-50-32x4d", 77.46, 484, "24.99", "4.2", "4.1"),
    PublishedNetwork("RepVGG-B2", "RepVGG-B2", 78.78, 460, "80.31", "18.4", "9.1"),
    PublishedNetwork("ResNet-101", "ResNet-101-v1", 77.21, 430, "44.49", "7.6", "5.5"),
    PublishedNetwork("VGG-16", "VGG-16-BN", 72.21, 415, "138.35", "15.5", "6.9"),
    PublishedNetwork("ResNet-152", "ResNet-152-v1", 77.78, 297, "60.11", "11.3", "8.1"),
    PublishedNetwork("ResNeXt-101", "ResNeXt-101-32x4d", 78.42, 295, "44.10", "8.0", "7.9"),
)

TABLE_5 = (
    PublishedNetwork("RepVGG-B2g4", "RepVGG-B2g4", 79.38, 581, "55.77", "11.3", "6.0"),
    PublishedNetwork("RepVGG-B3g4", "RepVGG-B3g4", 80.21, 464, "75.62", "16.1", "8.4"),
    PublishedNetwork("RepVGG-B3", "RepVGG-B3", 80.52, 363, "110.96", "26.2", "12.9"),
    PublishedNetwork("RegNetX-12GF", "RegNetX-12GF", 80.55, 277, "46.05", "12.1", "10.9"),
    PublishedNetwork("EfficientNet-B3", "EfficientNet-B3", 79.31, 224, "12.19", "1.8", "-"),
)

TABLE_6 = (
    PublishedRow("plain", "no identity, no 1x1", 72.39, 1810),
    PublishedRow("no-1x1", "identity only", 74.79, 1569),
    PublishedRow("no-identity", "1x1 only", 73.15, 1230),
    PublishedRow("repvgg", "identity and 1x1", 75.14, 1061),
)
TABLE_7 = (
    PublishedRow("identity-without-bn", "Identity w/o BN", 74.18),
    PublishedRow("post-addition-bn", "Post-addition BN", 73.52),
    PublishedRow("repvgg", "Full-featured reparam", 75.14),
    PublishedRow("relu-in-branches", "+ReLU in branch", 75.69),
    PublishedRow("diracnet", "DiracNet", 73.97),
    PublishedRow("trivial", "Trivial Re-param", 73.51),
    PublishedRow("acb", "ACB", 73.58),
    PublishedRow("residual-reorg", "Residual Reorg", 74.56),
)
ABLATION_TOP_1 = {row.variant: row.top_1 for row in (*TABLE_6, *TABLE_7)}
FUSED_B0_IMAGES_PER_SECOND = 1817  # table 4: what every row of table 6 becomes

# Where a printed number does not follow from the architecture, or the architecture had to be inferred; by the text.
_FIRST_VERSION = "the first version, with the stride in the 1x1 convolution: the printed FLOPs are those of no other"
_NOT_COUNTED = (
    "the paper asked a GPU, convolution by convolution, which ones it accelerated (footnote 3), and prints more "
    "multiplications than 4/9 of the 3x3 convolutions' give; no formula reproduces that"
)
NOTES = {
    "5x5": "the paper's row contradicts itself: 10522.6 thousand million multiply-adds in 2092.5 ms are 10.06 TFLOP/s",
    "ResNet-50": _FIRST_VERSION,
    "ResNet-101": _FIRST_VERSION,
    "ResNet-152": _FIRST_VERSION,
    "VGG-16": "138.35 is the count without batch norm, or with it folded into convolutions that have no bias before",
    "ResNeXt-101": "32x4d, inferred from the printed counts; " + _NOT_COUNTED,
    "RegNetX-3.2GF": _NOT_COUNTED,
    "RegNetX-12GF": _NOT_COUNTED,
    "EfficientNet-B0": "the GPU accelerated none of its convolutions: the paper prints no Wino MULs",
    "EfficientNet-B3": "on 300x300 pixels; the paper prints 12.19, the only count that looks rounded, not cut off; "
    "the GPU accelerated none of its convolutions",
    "DiracNet": "the paper refers to its section 2.2; it describes DiracNet in section 2.3",
}

# Not the paper's, which has no CIFAR: networks of this shape on CIFAR-10, trained on a GPU for 200 epochs (A) and 250
# (B) with 45,000 pictures, one run each (fattorib/RepVGG-CIFAR10). B0's last stage has 176 channels there, 160 here.
CIFAR_TOP_1 = {
    "RepVGG-A0-CIFAR": 89.77,
    "RepVGG-A1-CIFAR": 91.56,
    "RepVGG-A2-CIFAR": 92.29,
    "RepVGG-B0-CIFAR": 92.27,
}
