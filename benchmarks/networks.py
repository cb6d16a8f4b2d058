"""The larger networks of `recipes/` in PyTorch, for images of 28×28 with one channel and ten classes: what `peers.py` measures beside ours.

torchvision's own where it has the architecture; the numbers of parameters are those that `tailor summary` prints.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision.models as models

CLASSES = 10


class Residual(nn.Module):
    """relu(body(x) + shortcut(x))"""
    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


class PadShortcut(nn.Module):
    """He et al. 2016, option A: every other pixel, and zeros for the channels that are new."""
    def forward(self, x):
        x = x[:, :, ::2, ::2]
        return F.pad(x, (0, 0, 0, 0, 0, x.shape[1]))


def normalized(before, after, stride=1):
    return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)]


def lenet_5():
    return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(),
                         nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, CLASSES))


def cnn_bn_skip():
    layers = []
    for before, after in [(1, 32), (32, 64)]:
        body = nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(after),
                             nn.Conv2d(after, after, 3, padding=1), nn.BatchNorm2d(after))
        layers += [Residual(body, nn.Conv2d(before, after, 1)), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 7 * 7, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, CLASSES))


def vgg_11():
    layers, before = [], 1
    for filters in [64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512]:
        if filters == "pool":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(before, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]
            before = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, CLASSES))


def resnet_18():
    network = models.resnet18(num_classes=CLASSES)
    network.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    return network


def resnet_20():
    layers, before = [*normalized(1, 16), nn.ReLU(inplace=True)], 16
    for filters in [16, 32, 64]:
        for block in range(3):
            stride = 2 if block == 0 and filters > 16 else 1
            body = nn.Sequential(*normalized(before, filters, stride), nn.ReLU(inplace=True), *normalized(filters, filters))
            layers.append(Residual(body, nn.Identity() if stride == 1 else PadShortcut()))
            before = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, CLASSES))


def efficientnet_b0():
    network = models.efficientnet_b0(num_classes=CLASSES, stochastic_depth_prob=0.0)
    network.features[0][0] = nn.Conv2d(1, 32, 3, 2, 1, bias=False)
    return network


def vit_tiny():
    network = models.VisionTransformer(image_size=28, patch_size=4, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768, num_classes=CLASSES)
    network.conv_proj = nn.Conv2d(1, 192, 4, 4)
    return network


NETWORKS = {"lenet-5": lenet_5, "cnn-bn-skip": cnn_bn_skip, "vgg-11": vgg_11, "resnet-18": resnet_18, "resnet-20": resnet_20,
            "efficientnet-b0": efficientnet_b0, "vit-tiny": vit_tiny}

if __name__ == "__main__":
    torch.manual_seed(0)
    for name, build in NETWORKS.items():
        network = build()
        assert network(torch.rand(2, 1, 28, 28)).shape == (2, CLASSES)
        print(name, sum(p.numel() for p in network.parameters()))
