"""The networks that the paper compares RepVGG with, in PyTorch: torchvision's, timm's, or put together here."""

import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")
nn = torch.nn

TORCHVISION = {
    "ResNet-18": "resnet18",
    "ResNet-34": "resnet34",
    "ResNet-50": "resnet50",
    "ResNet-101": "resnet101",
    "ResNet-152": "resnet152",
    "ResNeXt-50-32x4d": "resnext50_32x4d",
    "VGG-16-BN": "vgg16_bn",
    "RegNetX-3.2GF": "regnet_x_3_2gf",
    "EfficientNet-B0": "efficientnet_b0",
    "EfficientNet-B3": "efficientnet_b3",
    "MobileNetV2": "mobilenet_v2",
    "ShuffleNetV2-x1.0": "shufflenet_v2_x1_0",
    "DenseNet-121": "densenet121",
}


def make_peer(name, num_classes=1000):
    """Make PyTorch's network of one of our names."""
    if name in TORCHVISION:
        return getattr(torchvision.models, TORCHVISION[name])(num_classes=num_classes)
    return SPECIAL[name](num_classes)


def first_version(name):
    """ResNet with the stride in the first 1x1 of a bottleneck: torchvision's, with the two strides exchanged."""

    def make(num_classes):
        net = make_peer(name, num_classes)
        for module in net.modules():
            if isinstance(module, torchvision.models.resnet.Bottleneck):
                module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
        return net

    return make


def regnet_12gf(num_classes):
    """RegNetX-12GF, which torchvision's class can make, but doesn't list."""
    from torchvision.models.regnet import BlockParams, RegNet

    # The paper's numbers of the network: its widths are quantized from a line.
    params = BlockParams.from_init_params(depth=19, w_0=168, w_a=73.36, w_m=2.37, group_width=112)
    return RegNet(params, num_classes=num_classes)


class ShuffleUnit(nn.Module):
    """A block of ShuffleNetV1, as its authors' code names and orders its parts."""

    def __init__(self, in_channels, out_channels, groups, stride, first):
        super().__init__()
        inner = out_channels // 4
        computed = out_channels if stride == 1 else out_channels - in_channels
        self.stride, self.groups = stride, groups
        self.branch_main_1 = nn.Sequential(
            nn.Conv2d(in_channels, inner, 1, groups=1 if first else groups, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
        )
        self.branch_main_2 = nn.Sequential(
            nn.Conv2d(inner, computed, 1, groups=groups, bias=False), nn.BatchNorm2d(computed)
        )
        self.branch_proj = nn.AvgPool2d(3, 2, 1) if stride == 2 else nn.Identity()

    def forward(self, x):
        out = self.branch_main_1(x)
        n, c, h, w = out.shape
        out = out.reshape(n, c // self.groups, self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)
        out = self.branch_main_2(out)
        if self.stride == 1:
            return torch.relu(self.branch_proj(x) + out)
        return torch.cat([self.branch_proj(x), torch.relu(out)], dim=1)


class ShuffleNetV1(nn.Module):
    """ShuffleNetV1 1x, which neither torchvision nor timm has."""

    def __init__(self, num_classes, groups=3, stem=24, depths=(4, 8, 4), widths=(240, 480, 960)):
        super().__init__()
        self.first_conv = nn.Sequential(nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU())
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        units, channels = [], stem
        for depth, width in zip(depths, widths, strict=True):
            for i in range(depth):
                units.append(ShuffleUnit(channels, width, groups, 2 if i == 0 else 1, first=not units))
                channels = width
        self.features = nn.Sequential(*units)
        self.classifier = nn.Sequential(nn.Linear(channels, num_classes, bias=False))

    def forward(self, x):
        x = self.features(self.maxpool(self.first_conv(x)))
        return self.classifier(x.mean(dim=(2, 3)))


SPECIAL = {
    "ResNet-50-v1": first_version("ResNet-50"),
    "ResNet-101-v1": first_version("ResNet-101"),
    "ResNet-152-v1": first_version("ResNet-152"),
    "ResNeXt-101-32x4d": lambda num_classes: timm.create_model("resnext101_32x4d", num_classes=num_classes),
    "RegNetX-12GF": regnet_12gf,
    "MobileNetV1": lambda num_classes: timm.create_model("mobilenetv1_100", num_classes=num_classes),
    "ShuffleNetV1-g3": ShuffleNetV1,
    "GoogLeNet": lambda num_classes: torchvision.models.googlenet(
        num_classes=num_classes, aux_logits=False, init_weights=False
    ),
}


def without_noise(net):
    """Switch off all that drops something at random; return the network."""
    for module in net.modules():
        if isinstance(module, (nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0
    return net


def narrower_vgg(num_classes, hidden):
    """VGG-16-BN with a narrower classifier: torchvision's takes a gigabyte in float64."""
    with torch.device("meta"):
        net = make_peer("VGG-16-BN", num_classes)
    net.features = net.features.to_empty(device="cpu")
    for place, shape in {0: (25088, hidden), 3: (hidden, hidden), 6: (hidden, num_classes)}.items():
        net.classifier[place] = nn.Linear(*shape)
    return net
