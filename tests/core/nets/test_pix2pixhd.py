

def test_local_branch_starts_silent_and_sees_single_texels() -> None:
    torch.manual_seed(0)
    net = Pix2PixHD(ngf=4, num_down=2, num_blocks=1, local_width=4).eval()
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    assert net.local is not None
    assert net.local(x).abs().max() == 0
    with torch.no_grad():
        net.local.last.weight.normal_()
        y = x.clone()
        y[..., 32, 32] += 0.5
        moved = (net.local(y) - net.local(x)).abs().amax(1)[0]
    assert moved[31:34, 31:34].max() > 0 and moved[:8].max() == 0
