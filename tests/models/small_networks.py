"""One network of every kind that the paper compares RepVGG with, so small that plain Python can run it."""

from repvgg_np.models.densenet import DenseNetConfig
from repvgg_np.models.efficientnet import EfficientNetConfig
from repvgg_np.models.googlenet import GoogLeNetConfig
from repvgg_np.models.mobilenet_v1 import MobileNetV1Config
from repvgg_np.models.mobilenet_v2 import MobileNetV2Config
from repvgg_np.models.regnet import RegNetConfig
from repvgg_np.models.resnet import ResNetConfig
from repvgg_np.models.shufflenet_v1 import ShuffleNetV1Config
from repvgg_np.models.shufflenet_v2 import ShuffleNetV2Config
from repvgg_np.models.vgg import VGGConfig

SIZE = {"input_size": 17, "num_classes": 3}
NARROW = (2, 1, 2, 1, 2, 1)

SMALL_NETWORKS = {
    "ResNet": ResNetConfig(depths=(1, 1), widths=(3, 4), **SIZE),
    "ResNet with bottlenecks": ResNetConfig(depths=(2, 1), widths=(2, 3), bottleneck=True, **SIZE),
    "ResNet-v1": ResNetConfig(depths=(1, 1), widths=(2, 3), bottleneck=True, stride_in_1x1=True, **SIZE),
    "ResNeXt": ResNetConfig(depths=(1, 1), widths=(4, 4), bottleneck=True, groups=2, group_width=32, **SIZE),
    "VGG": VGGConfig(depths=(1, 2), widths=(3, 4), hidden=3, **SIZE),
    "RegNetX": RegNetConfig(depths=(1, 2), widths=(4, 6), group_width=2, stem_width=3, **SIZE),
    "EfficientNet": EfficientNetConfig(
        stem_width=4, last_width=6, stages=((1, 3, 1, 4, 2), (2, 5, 2, 3, 1)), dropout=0.0, stochastic_depth=0.0, **SIZE
    ),
    "MobileNetV1": MobileNetV1Config(stem_width=3, depths=(1, 2), widths=(4, 5), **SIZE),
    "MobileNetV2": MobileNetV2Config(stem_width=4, last_width=6, stages=((1, 4, 1, 1), (2, 3, 2, 2)), **SIZE),
    "ShuffleNetV1": ShuffleNetV1Config(groups=2, stem_width=4, depths=(2,), widths=(16,), **SIZE),
    "ShuffleNetV2": ShuffleNetV2Config(stem_width=3, last_width=5, depths=(2,), widths=(6,), **SIZE),
    "DenseNet": DenseNetConfig(depths=(2, 1), growth=2, stem_width=4, **SIZE),
    "GoogLeNet": GoogLeNetConfig(stem_widths=(2, 3, 4), stages=((NARROW,), (NARROW,), (NARROW,)), **SIZE),
}
