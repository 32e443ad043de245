"""Exports networks of PaddleClas, PaddleSeg and PaddleDetection for `engines.py`, with random weights.

    python networks.py FOLDER

Each is made by its library's own code: PP-LCNet and Swin-tiny classify, PP-LiteSeg segments, and PicoDet detects, up to
its boxes and scores before any are dropped. Each takes pictures of one size in batches of any, but for PicoDet, which takes
one picture.

Needs paddlepaddle of `fixtures/requirements-3.3.1.txt`, and `requirements-networks.txt` with `pip install --no-deps`. What
these libraries import for training and for showing pictures is left out.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from unittest import mock

import paddle
from paddle import nn
from paddle.static import InputSpec


class LeftOut(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules that nothing else has found. They have whatever is asked of them."""

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = mock.MagicMock(name=spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module):
        pass


def pp_lcnet():
    from ppcls.arch.backbone.legendary_models.pp_lcnet import PPLCNet_x1_0

    return nn.Sequential(PPLCNet_x1_0(), nn.Softmax()), [None, 3, 224, 224]


def swin_tiny():
    from ppcls.arch.backbone.legendary_models.swin_transformer import SwinTransformer

    net = SwinTransformer(embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7)
    return nn.Sequential(net, nn.Softmax()), [None, 3, 224, 224]


class First(nn.Layer):
    """The first result of a network, as probabilities of classes in channels."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return nn.functional.softmax(self.net(x)[0], axis=1)


def pp_liteseg():
    from paddleseg.models import STDC1, PPLiteSeg

    return First(PPLiteSeg(19, STDC1())), [None, 3, 192, 256]


class Detector(nn.Layer):
    def __init__(self, backbone, neck, head):
        super().__init__()
        self.backbone, self.neck, self.head = backbone, neck, head

    def forward(self, image):
        return self.head(self.neck(self.backbone({"image": image})))


def picodet():
    from ppdet.modeling.backbones.lcnet import LCNet
    from ppdet.modeling.heads.pico_head import PicoFeat, PicoHeadV2
    from ppdet.modeling.losses import VarifocalLoss
    from ppdet.modeling.necks.lc_pan import LCPAN

    backbone = LCNet(scale=0.75, feature_maps=[3, 4, 5])
    neck = LCPAN([level.channels for level in backbone.out_shape], 96, use_depthwise=True, num_features=4)
    features = PicoFeat(96, 96, num_fpn_stride=4, num_convs=2, share_cls_reg=True, use_se=True)
    losses = {"loss_class": VarifocalLoss(use_sigmoid=True), "loss_dfl": None, "loss_bbox": None}
    sizes = {"fpn_stride": [8, 16, 32, 64], "feat_in_chan": 96, "eval_size": [320, 320]}
    return Detector(backbone, neck, PicoHeadV2(features, num_classes=80, **sizes, **losses)), [1, 3, 320, 320]


def settle(net, shape):
    """Gives a network weights and statistics with which noise that passes through it tells its outputs from each other."""
    for weight in net.parameters():
        if weight.ndim > 1 and 0 < float(weight.std()) < 0.05:
            weight.set_value(weight * (0.05 / float(weight.std())))
    net.eval()
    for layer in net.sublayers():
        if isinstance(layer, nn.layer.norm._BatchNormBase):
            layer._momentum = 0.0
            layer.train()
    with paddle.no_grad():
        net(paddle.randn([shape[0] or 4, *shape[1:]]))
    net.eval()


def main():
    root = Path(importlib.util.find_spec("paddleclas").origin).parent
    sys.path.insert(0, str(root))
    sys.meta_path.append(LeftOut())
    for make in (pp_lcnet, swin_tiny, pp_liteseg, picodet):
        paddle.seed(7)
        net, shape = make()
        settle(net, shape)
        program = paddle.jit.to_static(net, input_spec=[InputSpec(shape, name="x")], full_graph=True)
        paddle.jit.save(program, str(Path(sys.argv[1], make.__name__, "inference")))


main()
