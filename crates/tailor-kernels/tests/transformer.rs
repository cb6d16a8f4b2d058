//! Layer norm and attention against naive references, and those against finite differences.

mod reference;

use proptest::prelude::*;
use reference::*;
use tailor_kernels::attention::{Attention, AttentionGradient};
use tailor_kernels::norm::{LayerNorm, LayerNormGradient};

/// Each row is a batch of one channel: the output, dx, dγ and dβ.
fn layer_norm(x: &[f64], [gamma, beta]: [&[f64]; 2], epsilon: f64, dy: &[f64]) -> [Vec<f64>; 4] {
    let c = gamma.len();
    let [mut y, mut dx, mut dgamma, mut dbeta] = [vec![], vec![], vec![0.; c], vec![0.; c]];
    for (x, dy) in x.chunks(c).zip(dy.chunks(c)) {
        let [normal, ..] = batch_norm(x, &[1.], &[0.], epsilon);
        y.extend((0..c).map(|j| gamma[j] * normal[j] + beta[j]));
        let dnormal: Vec<f64> = (0..c).map(|j| gamma[j] * dy[j]).collect();
        dx.extend(&batch_norm_backward(x, &[1.], epsilon, &dnormal)[0]);
        for j in 0..c {
            dgamma[j] += dy[j] * normal[j];
            dbeta[j] += dy[j];
        }
    }
    [y, dx, dgamma, dbeta]
}

/// Output, maps and the gradient of the packed queries, keys and values.
fn attention(a: &Attention, qkv: &[f64], dy: &[f64]) -> [Vec<f64>; 3] {
    let Attention { batch, tokens, heads, width } = *a;
    let mut y = vec![0.; dy.len()];
    let mut maps = vec![0.; batch * heads * tokens * tokens];
    let mut dqkv = vec![0.; qkv.len()];
    let at = |image: usize, token: usize, part: usize, head: usize, i: usize| {
        (((image * tokens + token) * 3 + part) * heads + head) * width + i
    };
    let out = |image: usize, token: usize, head: usize, i: usize| {
        ((image * tokens + token) * heads + head) * width + i
    };
    let scale = 1. / (width as f64).sqrt();
    for image in 0..batch {
        for head in 0..heads {
            for query in 0..tokens {
                let map = &mut maps[((image * heads + head) * tokens + query) * tokens..][..tokens];
                for (key, p) in map.iter_mut().enumerate() {
                    let score: f64 = (0..width)
                        .map(|i| qkv[at(image, query, 0, head, i)] * qkv[at(image, key, 1, head, i)])
                        .sum();
                    *p = (scale * score).exp();
                }
                let total: f64 = map.iter().sum();
                map.iter_mut().for_each(|p| *p /= total);
                let mut dmap = vec![0.; tokens];
                for key in 0..tokens {
                    for i in 0..width {
                        let dy = dy[out(image, query, head, i)];
                        y[out(image, query, head, i)] += map[key] * qkv[at(image, key, 2, head, i)];
                        dqkv[at(image, key, 2, head, i)] += map[key] * dy;
                        dmap[key] += dy * qkv[at(image, key, 2, head, i)];
                    }
                }
                let mean: f64 = map.iter().zip(&dmap).map(|(p, d)| p * d).sum();
                for key in 0..tokens {
                    let dscore = scale * map[key] * (dmap[key] - mean);
                    for i in 0..width {
                        dqkv[at(image, query, 0, head, i)] += dscore * qkv[at(image, key, 1, head, i)];
                        dqkv[at(image, key, 1, head, i)] += dscore * qkv[at(image, query, 0, head, i)];
                    }
                }
            }
        }
    }
    [y, maps, dqkv]
}

#[test]
fn the_references_own_gradients_are_right() {
    let mut random = Random(5);
    let mut draw = |n: usize| widen(&random.values(n));
    let all = |n: usize| (0..n).collect::<Vec<_>>();
    let close = |a: &[f64], b: &[f64]| {
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-7, "{a} and {b}");
        }
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();

    let (x, dy, gamma, beta) = (draw(20), draw(20), draw(5), draw(5));
    let loss = |x: &[f64], gamma: &[f64]| dot(&layer_norm(x, [gamma, &beta], 1e-3, &dy)[0], &dy);
    let [_, dx, dgamma, _] = layer_norm(&x, [&gamma, &beta], 1e-3, &dy);
    close(&dx, &numeric_gradient(&x, &all(20), |x| loss(x, &gamma)));
    close(&dgamma, &numeric_gradient(&gamma, &all(5), |gamma| loss(&x, gamma)));

    let layer = Attention { batch: 2, tokens: 3, heads: 2, width: 2 };
    let (qkv, dy) = (draw(72), draw(24));
    let [_, _, dqkv] = attention(&layer, &qkv, &dy);
    close(&dqkv, &numeric_gradient(&qkv, &all(72), |qkv| dot(&attention(&layer, qkv, &dy)[0], &dy)));
}

fn check_attention(layer: Attention, spread: f32, seed: u64) {
    let Attention { batch, tokens, heads, width } = layer;
    let mut random = Random(seed);
    let len = batch * tokens * heads * width;
    let qkv: Vec<f32> = random.values(3 * len).iter().map(|v| spread * v).collect();
    let dy = random.values(len);
    let [y_expected, maps_expected, dqkv_expected] = attention(&layer, &widen(&qkv), &widen(&dy));
    // What f32 rounds off a score is a share of the score, and its exponential's.
    let lost = 1e-7 * f64::from(spread * spread) * (width as f64).sqrt();
    everywhere(
        || {
            let [mut y, mut inferred] = [(); 2].map(|()| vec![7.; len]);
            let mut dqkv = vec![7.; 3 * len];
            let maps = layer.forward(&qkv, &mut y);
            layer.infer(&qkv, &mut inferred);
            assert_eq!(y, inferred);
            layer.backward(AttentionGradient { qkv: &qkv, maps: &maps, dy: &dy, dqkv: &mut dqkv });
            [y, maps.to_vec(), dqkv]
        },
        |[y, maps, dqkv]| {
            assert_close("y", y, &y_expected, 2e-6 + 3. * lost);
            assert_close("maps", maps, &maps_expected, 2e-6 + 3. * lost);
            assert_close("dqkv", dqkv, &dqkv_expected, 1e-5 + 10. * lost);
        },
    );
}

#[test]
fn attention_of_a_small_vision_transformer() {
    check_attention(Attention { batch: 3, tokens: 50, heads: 3, width: 32 }, 2., 1);
    // Scores far from zero, on both sides.
    check_attention(Attention { batch: 1, tokens: 17, heads: 1, width: 64 }, 9., 2);
}

/// One query, two keys: scores 0 and ln 3, so that the map is 1/4 and 3/4.
#[test]
fn attention_by_hand() {
    let layer = Attention { batch: 1, tokens: 2, heads: 1, width: 1 };
    let qkv = [1., 0., 8., 0., 3f32.ln(), 4.];
    let mut y = [7.; 2];
    let maps = layer.forward(&qkv, &mut y);
    assert_close("maps", &maps, &[0.25, 0.75, 0.5, 0.5], 1e-7);
    assert_close("y", &y, &[5., 6.], 1e-7);
}

proptest! {
    #[test]
    fn attention_of_any_shape(
        batch in 1..4usize, tokens in 1..40usize, heads in 1..4usize, width in 1..40usize, seed: u64,
    ) {
        check_attention(Attention { batch, tokens, heads, width }, 1.5, seed);
    }

    #[test]
    fn layer_norm_of_any_shape(rows in 1..300usize, c in 1..140usize, offset in -30f32..30., seed: u64) {
        let mut random = Random(seed);
        let x: Vec<f32> = random.values(rows * c).iter().map(|x| x + offset).collect();
        let (gamma, beta, dy) = (random.values(c), random.values(c), random.values(rows * c));
        let epsilon = 1e-2;
        let wide = [&x, &gamma, &beta, &dy].map(|values| widen(values));
        let [y_expected, dx_expected, dgamma_expected, dbeta_expected] =
            layer_norm(&wide[0], [&wide[1], &wide[2]], f64::from(epsilon), &wide[3]);
        // What f32 rounds off a value far from zero, in units of the least standard deviation there may be.
        let lost = 1e-7 * f64::from(1. + offset.abs()) / f64::from(epsilon).sqrt();
        let norm = LayerNorm { gamma: &gamma, beta: &beta, epsilon };
        everywhere(
            || {
                let [mut y, mut dx] = [(); 2].map(|()| vec![7.; x.len()]);
                let [mut dgamma, mut dbeta] = [(); 2].map(|()| vec![7.; c]);
                norm.forward(&x, &mut y);
                norm.backward(LayerNormGradient {
                    x: &x, dy: &dy, dx: &mut dx, dgamma: &mut dgamma, dbeta: &mut dbeta,
                });
                [y, dx, dgamma, dbeta]
            },
            |[y, dx, dgamma, dbeta]| {
                assert_close("y", y, &y_expected, 2e-6 + lost);
                assert_close("dx", dx, &dx_expected, 1e-5 + 3. * lost);
                // Errors of a sum are relative to what is summed up, of which much may cancel.
                let summed = 1e-5 + 1e-6 * wide[3].iter().map(|dy| dy.abs()).sum::<f64>() / c as f64;
                assert_close("dgamma", dgamma, &dgamma_expected, summed + lost);
                assert_close("dbeta", dbeta, &dbeta_expected, summed);
            },
        );
    }
}
