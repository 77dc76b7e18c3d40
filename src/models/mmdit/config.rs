//! What kind of MMDiT a set of weights is, told from its shapes alone.

use crate::error::{Error, Result};
use crate::tensor::Shape;
use crate::weights::WeightMap;

/// Columns of one attention head, in every SD3.5 model.
pub const HEAD_DIM: usize = 64;
/// Features of a timestep.
pub const TIME_FEATURES: usize = 256;
/// Latent pixels a side of a patch.
pub const PATCH: usize = 2;
/// Picture pixels a side of a latent pixel.
pub const LATENT_PIXEL: usize = 8;

/// The sizes of an MMDiT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MmditConfig {
    /// Joint blocks.
    pub depth: usize,
    /// Columns of both streams: 64 a head.
    pub width: usize,
    /// Columns of the MLPs' middle.
    pub mlp_width: usize,
    /// Latent channels.
    pub channels: usize,
    /// Patches a side of the position table.
    pub position_size: usize,
    /// Columns of prompt embeddings.
    pub context_width: usize,
    /// Length of pooled prompt embeddings.
    pub pooled_width: usize,
    /// For every block, whether the image stream has a second attention of its own (SD3.5 Medium).
    pub dual_attention: Vec<bool>,
}

impl MmditConfig {
    /// Reads the sizes off the weights and checks every weight's shape against them.
    ///
    /// # Errors
    /// Names the first tensor that is missing or has another shape than the rest implies.
    pub fn from_weights(weights: &WeightMap) -> Result<Self> {
        let shape = |name: &str| weights.get(name).map(|weight| weight.shape.dims().to_vec());
        let patch = shape("x_embedder.proj.weight")?;
        let &[width, channels, PATCH, PATCH] = patch.as_slice() else {
            return Err(Error::tensor(
                weights.path(),
                "x_embedder.proj.weight",
                format!("shape {patch:?} is not a patch embedding of {PATCH} x {PATCH} latent pixels"),
            ));
        };
        let positions = Shape::from(shape("pos_embed")?).rows();
        let depth = (0..)
            .take_while(|block| weights.contains(&block_name(*block, "x_block.attn.qkv.weight")))
            .count();
        let config = Self {
            depth,
            width,
            channels,
            mlp_width: shape(&block_name(0, "x_block.mlp.fc1.weight"))?[0],
            position_size: positions.isqrt(),
            context_width: Shape::from(shape("context_embedder.weight")?).columns(),
            pooled_width: Shape::from(shape("y_embedder.mlp.0.weight")?).columns(),
            dual_attention: (0..depth)
                .map(|block| weights.contains(&block_name(block, "x_block.attn2.qkv.weight")))
                .collect(),
        };
        config.check_heads(weights)?;
        for (name, shape) in config.weights() {
            weights.expect_shape(&name, &shape)?;
        }
        Ok(config)
    }

    fn check_heads(&self, weights: &WeightMap) -> Result<()> {
        if self.depth > 0 && self.width > 0 && self.width.is_multiple_of(HEAD_DIM) {
            return Ok(());
        }
        let cause = format!("{} blocks of {} columns are not heads of {HEAD_DIM}", self.depth, self.width);
        Err(Error::tensor(weights.path(), "x_embedder.proj.weight", cause))
    }

    /// Heads of every attention.
    pub fn heads(&self) -> usize {
        self.width / HEAD_DIM
    }

    /// Whether the text stream of `block` ends there: it gives keys and values, nothing else.
    pub fn is_last(&self, block: usize) -> bool {
        block + 1 == self.depth
    }

    /// Modulation chunks of the image stream of `block`.
    pub fn image_chunks(&self, block: usize) -> usize {
        if self.dual_attention[block] { 9 } else { 6 }
    }

    /// Modulation chunks of the text stream of `block`.
    pub fn text_chunks(&self, block: usize) -> usize {
        if self.is_last(block) { 2 } else { 6 }
    }

    /// The largest picture side in pixels that the position table holds.
    pub fn max_side(&self) -> usize {
        self.position_size * PATCH * LATENT_PIXEL
    }

    /// Image tokens of a picture.
    pub fn image_tokens(&self, width: usize, height: usize) -> usize {
        width / (PATCH * LATENT_PIXEL) * (height / (PATCH * LATENT_PIXEL))
    }

    /// The sizes of SD3.5 Large and Large Turbo.
    pub fn large() -> Self {
        Self {
            depth: 38,
            width: 2432,
            mlp_width: 9728,
            channels: 16,
            position_size: 192,
            context_width: 4096,
            pooled_width: 2048,
            dual_attention: vec![false; 38],
        }
    }

    /// The sizes of SD3.5 Medium.
    pub fn medium() -> Self {
        Self {
            depth: 24,
            width: 1536,
            mlp_width: 6144,
            position_size: 384,
            dual_attention: (0..24).map(|block| block < 13).collect(),
            ..Self::large()
        }
    }

    /// The release that has this depth and width; the miniature and others have none.
    pub fn release(&self) -> &'static str {
        let is = |release: &Self| (self.depth, self.width) == (release.depth, release.width);
        if is(&Self::large()) {
            "SD3.5 Large"
        } else if is(&Self::medium()) {
            "SD3.5 Medium"
        } else {
            "SD3.5 architecture"
        }
    }

    /// Every weight with its shape.
    pub fn weights(&self) -> Vec<(String, Shape)> {
        let (d, features) = (self.width, self.channels * PATCH * PATCH);
        let mut all = vec![
            ("pos_embed".to_owned(), Shape::from([1, self.position_size * self.position_size, d])),
            ("x_embedder.proj.weight".to_owned(), Shape::from([d, self.channels, PATCH, PATCH])),
            ("x_embedder.proj.bias".to_owned(), Shape::from([d])),
        ];
        let mut linear = |name: &str, outputs: usize, inputs: usize| {
            all.push((format!("{name}.weight"), Shape::from([outputs, inputs])));
            all.push((format!("{name}.bias"), Shape::from([outputs])));
        };
        linear("t_embedder.mlp.0", d, TIME_FEATURES);
        linear("t_embedder.mlp.2", d, d);
        linear("y_embedder.mlp.0", d, self.pooled_width);
        linear("y_embedder.mlp.2", d, d);
        linear("context_embedder", d, self.context_width);
        linear("final_layer.adaLN_modulation.1", 2 * d, d);
        linear("final_layer.linear", features, d);
        let mut gains = Vec::new();
        for block in 0..self.depth {
            let name = |rest: &str| block_name(block, rest);
            let streams = [("x_block", self.image_chunks(block)), ("context_block", self.text_chunks(block))];
            for (stream, chunks) in streams {
                linear(&name(&format!("{stream}.adaLN_modulation.1")), chunks * d, d);
                linear(&name(&format!("{stream}.attn.qkv")), 3 * d, d);
                gains.push(name(&format!("{stream}.attn")));
                if stream == "x_block" || !self.is_last(block) {
                    linear(&name(&format!("{stream}.attn.proj")), d, d);
                    linear(&name(&format!("{stream}.mlp.fc1")), self.mlp_width, d);
                    linear(&name(&format!("{stream}.mlp.fc2")), d, self.mlp_width);
                }
            }
            if self.dual_attention[block] {
                linear(&name("x_block.attn2.qkv"), 3 * d, d);
                linear(&name("x_block.attn2.proj"), d, d);
                gains.push(name("x_block.attn2"));
            }
        }
        for name in gains {
            all.push((format!("{name}.ln_q.weight"), Shape::from([HEAD_DIM])));
            all.push((format!("{name}.ln_k.weight"), Shape::from([HEAD_DIM])));
        }
        all
    }
}

/// The canonical name of a weight of a joint block.
pub fn block_name(block: usize, rest: &str) -> String {
    format!("joint_blocks.{block}.{rest}")
}
