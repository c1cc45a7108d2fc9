"""The paper's ablation tables (arXiv 2101.03697, tables 6 and 7): RepVGG-B0, 120 epochs, ImageNet.

No published run of these ablations on CIFAR was found. What can be compared on another data set, with another network,
is the order of the rows.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRow:
    """One row of table 6 or 7.

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
