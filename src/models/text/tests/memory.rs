//! Planned memory, which is what is then used.

use super::*;
use crate::autograd::plan::plan;
use crate::device::Limits;

const LIMITS: Limits = Limits { lanes: 2, memory: u64::MAX, cuda: None };
const MIB: usize = 1 << 20;

/// T5-XXL as it is.
const XXL: T5Config =
    T5Config { layers: 24, width: 4096, heads: 64, head_dim: 64, hidden: 10240, epsilon: 1e-6 };

/// One layer of T5-XXL takes 736 MiB in f32; its largest matrix (q, k and v together) 192 MiB. A prompt of 256 tokens
/// is planned with 216 MiB.
#[test]
fn t5_xxl_needs_less_than_a_layer() {
    let matrices = 4 * XXL.width * XXL.width + 3 * XXL.width * XXL.hidden;
    let layer = matrices * size_of::<f32>();
    assert_eq!(layer / MIB, 736);
    let bytes =
        |batch, tokens| plan(&XXL.record(batch, tokens, Padding::Seen).unwrap().program, &LIMITS).bytes;
    assert!(bytes(1, 256) < 220 * MIB, "{}", bytes(1, 256));
    assert!(bytes(8, 512) < layer, "{}", bytes(8, 512));
    let one_layer = T5Config { layers: 1, ..XXL };
    let shallow = plan(&one_layer.record(1, 256, Padding::Seen).unwrap().program, &LIMITS).bytes;
    assert!(bytes(1, 256) < shallow + 8 * MIB, "depth must not cost memory: {shallow}");
}

#[test]
fn what_is_planned_is_what_is_used() {
    let encoders = miniature::open();
    let (mut engine, limits) = (engine(), Cpu::new().limits());
    for (prompts, length) in [(1, 77), (3, 77), (20, 256)] {
        let planned = encoders.plan(prompts, length, &limits).unwrap();
        encoders.encode_batch(&mut engine, &vec!["a blue star"; prompts], length).unwrap();
        assert_eq!(engine.arena_bytes(), planned, "{prompts} prompts of {length}");
    }
}
