"""BlazePose as an encoder: its parameters, how maps are joined, and landmarks in the units of crops."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from hmr_jax.batch import zeros
from hmr_jax.config import DecoderConfig, EncoderConfig, ModelConfig
from hmr_jax.models import build_model
from hmr_jax.models.backbones.blazepose import BlazePose, BlazePoseOutput
from hmr_jax.models.decoder import Decoder
from hmr_jax.models.parameters import init_params
from hmr_jax.models.pyramid import BlazePoseEncoder, Encoded, _landmarks, _resized


def output() -> BlazePoseOutput:
    landmarks = jnp.tile(jnp.array([64.0, 192.0, -32.0, 0.0, 20.0]), (1, 39, 1))
    nothing = jnp.zeros((1, 1))
    return BlazePoseOutput(landmarks, jnp.ones((1, 39, 3)), nothing, nothing, nothing, {}, {})


def test_parameters_are_those_of_the_network():
    image = jnp.zeros((1, 256, 256, 3))
    shapes = [
        jax.eval_shape(module.init, jax.random.key(0), image)["params"]
        for module in (BlazePose("lite"), BlazePoseEncoder("lite"))
    ]
    assert jax.tree.map(jnp.shape, shapes[0]) == jax.tree.map(jnp.shape, shapes[1])


@pytest.mark.parametrize(("strides", "stride", "shape"), [
    ((4, 16, 32), 16, (16, 16, 2 * 48 + 88 + 48 + 144)),
    ((4, 16, 32), 32, (8, 8, 2 * 48 + 2 * (88 + 48) + 144)),
    ((8,), 8, (32, 32, 48)),
])  # fmt: skip
def test_maps_are_joined_at_the_stride_asked_for(strides, stride, shape):
    module = BlazePoseEncoder("full", strides, stride)
    encoded = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x)[0], jnp.zeros((2, 256, 256, 3)))
    assert isinstance(encoded, Encoded)
    assert encoded.features.shape == (2, *shape)
    assert encoded.landmarks.shape == (2, 39, 8)


def test_finer_maps_give_mean_and_maximum_and_coarser_ones_are_repeated():
    fine = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(_resized(fine, 4, 8)[0, 0, 0], [2.5, 5])  # of 0, 1, 4, 5
    np.testing.assert_array_equal(_resized(fine, 16, 8)[0, 2:4, 4:6, 0], np.full((2, 2), 6))


def test_landmarks_are_in_crop_coordinates_and_metres():
    np.testing.assert_allclose(_landmarks(output())[0, 0], [-0.25, 0.25, -0.125, 0, 0.5, 1, 1, 1], atol=1e-6)


def test_a_decoder_reads_features_and_landmarks():
    decoder = DecoderConfig(
        dim=16, depth=1, num_heads=2, head_dim=8, mlp_dim=16, offset_groups=2, feature_dim=16, landmarks=True
    )
    encoder = EncoderConfig(name="blazepose_lite", image_size=(256, 256), map_stride=32)
    model = build_model(ModelConfig(encoder=encoder, decoder=decoder))
    params = init_params(model, jax.random.key(0), zeros(1, 256))
    assert {"landmarks", "feature_proj", "feature_norm"} <= set(params["decoder"])
    rng = np.random.default_rng(0)
    features = {"features": rng.normal(size=(2, 8, 8, params["decoder"]["feature_proj"]["kernel"].shape[0]))}
    landmarks = rng.normal(size=(2, 39, 8)).astype(np.float32)
    apply = jax.jit(model.apply)
    one, other = (apply({"params": params}, features | {"landmarks": x}) for x in (landmarks, landmarks + 0.1))
    assert np.abs(one.keypoints_3d - other.keypoints_3d).max() > 1e-6
    crop = apply({"params": params}, {"image": tiny.batch(0, 1, 256)["image"]})
    assert np.isfinite(crop.vertices).all()


@pytest.mark.parametrize("attention", ["plain", "deformable"])
def test_maps_are_noisy_or_hidden_in_training_only(attention):
    rng = np.random.default_rng(0)
    plain = DecoderConfig(
        dim=16, depth=1, num_heads=2, head_dim=8, mlp_dim=16, offset_groups=2, offset_kernel=3, landmarks=True,
        feature_dim=16, attention=attention,
    )  # fmt: skip
    features, landmarks = jnp.float32(rng.normal(size=(64, 4, 4, 5))), jnp.float32(rng.normal(size=(64, 3, 8)))
    params = Decoder(plain, 2).init(jax.random.key(0), features, landmarks)

    def tokens(config, train, map=features, seed=1):
        return Decoder(config, 2).apply(params, map, landmarks, train, rngs={"dropout": jax.random.key(seed)})[0]

    seen = tokens(plain, True)
    for changed in (replace(plain, feature_noise=0.5), replace(plain, feature_drop=0.3)):
        np.testing.assert_array_equal(tokens(changed, False), seen)
        assert (tokens(changed, True) != tokens(changed, True, seed=2)).any()
    moved = np.abs(tokens(replace(plain, feature_drop=0.3), True) - seen).max((1, 2)) > 1e-6
    assert 8 < moved.sum() < 32  # of 64
    assert (np.abs(tokens(replace(plain, feature_noise=0.5), True) - seen).max((1, 2)) > 1e-4).all()
    other = tokens(replace(plain, feature_drop=0.3), True, map=features + 1)
    # What is hidden does not matter.
    hidden = np.abs(other - tokens(replace(plain, feature_drop=0.3), True)).max((1, 2)) < 1e-6
    assert (hidden >= moved).all()


def test_landmarks_of_an_encoder_without_any_are_refused():
    with pytest.raises(ValueError, match="'vit' finds no landmarks"):
        build_model(ModelConfig(decoder=DecoderConfig(landmarks=True)))


@pytest.mark.parametrize(("strides", "stride"), [((5,), 16), ((4, 16), 24), ((), 16)])
def test_strides_without_maps_are_refused(strides, stride):
    module = BlazePoseEncoder("lite", strides, stride)
    with pytest.raises(ValueError, match=r"strides 4, 8, 16 and 32, not .* joined at"):
        jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 256, 256, 3)))
