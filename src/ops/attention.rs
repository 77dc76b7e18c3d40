//! Joint attention: softmax attention over one or two streams.

use crate::autograd::{Derivation, Program, Retention};
use crate::error::Result;
use crate::kernels::Shapes;
use crate::kernels::attention::{Attention, AttentionGradient, Heads, Mask, Stream};
use crate::tensor::TensorId;

/// O `[b, tokens, heads * dim]` of every stream that has queries, in order.
///
/// The outputs are kept by the `selective` policy: they are small and dear.
pub fn attention(
    program: &mut Program,
    name: &str,
    streams: Vec<Stream>,
    heads: Heads,
    mask: Mask,
) -> Result<Vec<TensorId>> {
    let mut outs = Vec::new();
    let mut queries = 0;
    let mut batch = 0;
    for (index, stream) in streams.iter().enumerate().filter(|(_, stream)| stream.q.is_some()) {
        let shape = program.shape(stream.qkv).with_columns(heads.count * heads.dim);
        (batch, queries) = (shape.dims()[0], queries + shape.dims()[1]);
        outs.push(program.activation(format!("{name}.{index}"), shape));
    }
    let lse = program.activation(format!("{name}.lse"), [batch, heads.count, queries]);
    program.launch(Attention { streams, heads, mask, lse, outs: outs.clone() })?;
    outs.iter().chain([&lse]).for_each(|&id| program.retain(id, Retention::Selective));
    Ok(outs)
}

pub(super) fn derivative(node: &Attention, d: &mut Derivation<'_>) -> Result<()> {
    let douts = node.outs.iter().map(|&out| d.expect_gradient(out)).collect::<Result<Vec<_>>>()?;
    let dqkvs: Vec<TensorId> = node.streams.iter().map(|stream| d.like(stream.qkv)).collect();
    d.launch(AttentionGradient {
        streams: node.streams.clone(),
        heads: node.heads.clone(),
        lse: node.lse,
        outs: node.outs.clone(),
        douts,
        dqkvs: dqkvs.clone(),
    })?;
    for (stream, dqkv) in node.streams.iter().zip(dqkvs) {
        if d.needs(stream.qkv) {
            d.pass(stream.qkv, dqkv)?;
        }
    }
    Ok(())
}
