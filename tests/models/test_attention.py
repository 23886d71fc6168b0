"""Which attention kernels run."""

import torch

from hfbiasedit.models.attention import any_shape


def kernels():
    cuda = torch.backends.cuda
    return {
        "cudnn": cuda.cudnn_sdp_enabled(),
        "flash": cuda.flash_sdp_enabled(),
        "efficient": cuda.mem_efficient_sdp_enabled(),
        "math": cuda.math_sdp_enabled(),
    }


def test_on_a_gpu_cudnn_makes_no_plans_and_what_was_chosen_comes_back(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    before = kernels()
    assert before["cudnn"]  # or this test would say nothing
    with any_shape():
        assert kernels() == {"cudnn": False, "flash": True, "efficient": True, "math": True}
    assert kernels() == before


def test_elsewhere_nothing_is_chosen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = kernels()
    with any_shape():
        assert kernels() == before
