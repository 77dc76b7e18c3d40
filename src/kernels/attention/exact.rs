//! Attention where a card keeps activations in f32: a frozen encoder's.

use super::cuda::buckets;
use crate::device::cuda::{Launches, Operands, vectorised};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::attention::{Attention, Mask};
use crate::kernels::parameters::{
    ATTENTION_MASK_CAUSAL, ATTENTION_MASK_NONE, ATTENTION_MASK_RELATIVE_BIAS, AttentionExactParams,
    AttentionExactStream,
};
use crate::kernels::spread::{grid, word};
use crate::tensor::DType;
use bytemuck::Zeroable;

/// Threads of a block.
const THREADS: u32 = 256;

/// A kernel: heads of at most so many columns, and the queries of a block.
struct Form {
    symbol: &'static str,
    head_dim: usize,
    queries: usize,
}

/// From narrow to wide.
const FORMS: [Form; 2] = [
    Form { symbol: "attention_exact_64", head_dim: 64, queries: 64 },
    Form { symbol: "attention_exact_512", head_dim: 512, queries: 32 },
];

impl Attention {
    /// Whether the activations are f32.
    pub(super) fn is_exact(&self, operands: &Operands<'_>) -> bool {
        operands.dtype(self.streams[0].qkv) == DType::F32
    }

    pub(super) fn launch_exactly(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let heads = &self.heads;
        let Some(form) = FORMS.iter().find(|form| heads.dim <= form.head_dim) else {
            let cause = format!("heads of {} columns are wider than any kernel for f32 takes", heads.dim);
            return Err(Error::new(ErrorKind::Kernel, kernel, cause));
        };
        let mut parameters = AttentionExactParams {
            lse: operands.f32(kernel, self.lse)?,
            heads: word(kernel, heads.count)?,
            head_dim: word(kernel, heads.dim)?,
            mask: ATTENTION_MASK_NONE,
            scale: heads.scale,
            ..AttentionExactParams::zeroed()
        };
        let blocks = self.locate_exactly(kernel, form, operands, &mut parameters)?;
        match self.mask {
            Mask::None => {}
            Mask::Causal => parameters.mask = ATTENTION_MASK_CAUSAL,
            Mask::RelativeBias { table, ids } => {
                parameters.mask = ATTENTION_MASK_RELATIVE_BIAS;
                match operands.dtype(table) {
                    DType::F32 => parameters.bias_table_f32 = operands.f32(kernel, table)?,
                    _ => parameters.bias_table = operands.bf16(kernel, table)?,
                }
                parameters.ids = ids.map_or(Ok(0), |ids| operands.i32(kernel, ids))?;
                (parameters.bucket_behind, parameters.bucket_ahead) = buckets();
            }
        }
        let batch = operands.shape(self.streams[0].qkv).dims()[0];
        let grid = grid(kernel, [blocks, heads.count, batch])?;
        to.push(form.symbol, grid, THREADS, &parameters);
        Ok(())
    }

    /// Writes where the streams lie; the blocks that their queries take.
    fn locate_exactly(
        &self,
        kernel: &str,
        form: &Form,
        operands: &Operands<'_>,
        parameters: &mut AttentionExactParams,
    ) -> Result<usize> {
        let (mut blocks, mut queries) = (0, 0);
        let mut outs = self.outs.iter();
        let mut aligned = vectorised(0, self.heads.dim, size_of::<f32>());
        for (located, stream) in parameters.streams.iter_mut().zip(&self.streams) {
            let shape = operands.shape(stream.qkv);
            let (tokens, columns) = (shape.dims()[1], shape.columns());
            let qkv = operands.f32(kernel, stream.qkv)?;
            let mut starts = [columns, stream.k, stream.v, stream.q.unwrap_or(0)].into_iter();
            aligned &= starts.all(|start| vectorised(qkv, start, size_of::<f32>()));
            *located = AttentionExactStream {
                qkv,
                tokens: word(kernel, tokens)?,
                columns: word(kernel, columns)?,
                k: word(kernel, stream.k)?,
                v: word(kernel, stream.v)?,
                ..AttentionExactStream::zeroed()
            };
            if let (Some(q), Some(&out)) = (stream.q, stream.q.and_then(|_| outs.next())) {
                located.out = operands.f32(kernel, out)?;
                (located.q, located.asks) = (word(kernel, q)?, 1);
                located.first_query = word(kernel, queries)?;
                queries += tokens;
                blocks += tokens.div_ceil(form.queries);
            }
        }
        (parameters.queries, parameters.aligned) = (word(kernel, queries)?, aligned.into());
        Ok(blocks)
    }
}
