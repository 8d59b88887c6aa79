import torch

from runtime.field.sheets import contact_sheet, depth_picture, normal_picture


def test_pictures_stand_in_their_cells() -> None:
    pictures = [torch.full((3, 2, 3), index / 10) for index in range(5)]
    sheet = contact_sheet(pictures, 2, gap=1)
    assert sheet.shape == (3, 3 * 3 - 1, 2 * 4 - 1)
    assert torch.equal(sheet[:, 3:5, 4:7], pictures[3])
    assert (sheet[:, 2] == 1).all()
    assert (sheet[:, 6:, 4:] == 1).all()


def test_near_is_light_and_nothing_white() -> None:
    alpha = torch.tensor([[1.0, 1, 0, 1]])
    picture = depth_picture(torch.tensor([[2.0, 4, 0, 3]]) * alpha, alpha)
    assert torch.allclose(picture[0], torch.tensor([[0.9, 0.1, 1, 0.5]]))
    assert depth_picture(torch.zeros(2, 2), torch.zeros(2, 2)).min() == 1
    fixed = depth_picture(torch.tensor([[2.0]]), torch.tensor([[1.0]]), (0.0, 4.0))
    assert torch.allclose(fixed, torch.tensor(0.5))


def test_normals_are_colours() -> None:
    normal = torch.tensor([[[0.0, 0, 1], [0, 0, 0]]])
    picture = normal_picture(normal, torch.tensor([[1.0, 0]]))
    assert torch.allclose(picture[:, 0, 0], torch.tensor([0.5, 0.5, 1]))
    assert torch.equal(picture[:, 0, 1], torch.ones(3))
